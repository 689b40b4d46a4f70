"""The coordinate-wise trimmed mean of Yin et al. (2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from pydantic import Field

from qfedfm.core.checks import check_fields, require_rows
from qfedfm.core.cohort import Cohort, Reduced, State
from qfedfm.core.parts import Law, Reduce, ServerAt
from qfedfm.core.registry import part
from qfedfm.reduces._columns import over_sorted_columns


@part("trimmed-mean", paper="Yin et al., ICML 2018, arXiv 1803.01498")
@final
@dataclass(frozen=True)
class TrimmedMean(Reduce):
    """vⱼ = mean of {x₁ⱼ, …, xₙⱼ} without the f smallest and the f largest values, for each coordinate j (Definition 2).

    Every update counts once, whatever its sample weight. The kept values are summed in float64; the trimmed ones are
    never part of a sum, so a huge update leaves no rounding behind. No row weights are reported.

    Args:
        hostile: f, how many values are trimmed on each side. 0 gives the unweighted mean.

    Raises:
        ConfigError: ``hostile`` is negative.
        StackError: fewer than 2f + 1 updates.

    Differs from the paper: names the number of trimmed values, where the paper names the fraction β = f/n.
    """

    hostile: Annotated[int, Field(ge=0)] = 1

    laws = (Reduce.laws - {Law.IDENTITY}) | {Law.TRANSLATION}
    exempt = {Law.IDENTITY: "needs at least 2·hostile + 1 updates"}  # noqa: RUF012

    def __post_init__(self) -> None:
        check_fields(self)

    def minimum_rows(self) -> int:
        return 2 * self.hostile + 1

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        require_rows(self, cohort)
        kept = slice(self.hostile, cohort.n - self.hostile)
        shares = np.full(cohort.n - 2 * self.hostile, 1 / (cohort.n - 2 * self.hostile))

        def mean(columns: np.ndarray) -> np.ndarray:
            return np.asarray(columns[:, kept].astype(np.float64) @ shares)

        return Reduced(over_sorted_columns(cohort.X, mean)), state
