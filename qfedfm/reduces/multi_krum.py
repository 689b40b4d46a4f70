"""Multi-Krum of Blanchard et al. (2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from pydantic import Field

from qfedfm.core.checks import check_fields, require_rows
from qfedfm.core.cohort import Cohort, Reduced, State
from qfedfm.core.parts import Law, Reduce, ServerAt
from qfedfm.core.registry import part
from qfedfm.reduces._columns import combine
from qfedfm.reduces.krum import least


@part("multi-krum", paper="Blanchard et al., NeurIPS 2017, arXiv 1703.02757")
@final
@dataclass(frozen=True)
class MultiKrum(Reduce):
    """(1/m) Σ xᵢ over the m updates with the smallest Krum scores.

    Every selected update counts once, whatever its sample weight: row weight 1/m for the selected and 0 else.

    Args:
        hostile: f, how many updates may be hostile.
        select: m, how many updates are averaged; None for n − f. 1 gives Krum.

    Raises:
        ConfigError: ``hostile`` is negative or ``select`` less than 1.
        StackError: fewer than 2f + 3 or fewer than m updates.

    Differs from the paper: m = n − f unless set, as is usual in later work; the paper leaves m between 1 and n. Ties
    go to the smallest client id.
    """

    hostile: Annotated[int, Field(ge=0)] = 1
    select: Annotated[int, Field(ge=1)] | None = None

    laws = (Reduce.laws - {Law.IDENTITY}) | {Law.TRANSLATION, Law.CONVEX}
    exempt = {Law.IDENTITY: "needs at least 2·hostile + 3 updates"}  # noqa: RUF012

    def __post_init__(self) -> None:
        check_fields(self)

    def minimum_rows(self) -> int:
        return max(2 * self.hostile + 3, self.select or 1)

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        require_rows(self, cohort)
        count = self.select or cohort.n - self.hostile
        chosen = least(cohort, self.hostile, count)
        weights = np.zeros(cohort.n)
        weights[chosen] = 1.0 / count
        return Reduced(combine(weights, cohort.X), row_weights=weights), state
