"""Nearest-neighbour mixing of Allouah et al. (2023), in front of any reduce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

from pydantic import Field

from qfedfm.core.checks import check_fields, require_rows
from qfedfm.core.cohort import Cohort
from qfedfm.core.parts import CohortLayer, Law, ServerAt
from qfedfm.core.registry import part


@part("nnm", paper="Allouah et al., AISTATS 2023, arXiv 2302.01772")
@final
@dataclass(frozen=True)
class Nnm(CohortLayer):
    """yᵢ = (1/(n − f)) Σ xⱼ over the n − f updates nearest to xᵢ, itself among them.

    Every neighbour counts once, whatever its sample weight; row i keeps the id and the sample weight of client i.
    A row is then a mixture of several clients, so that reduces whose state belongs to single clients are refused
    above it; weights of rows go back to clients through ``mixing``.

    Args:
        hostile: f, how many updates may be hostile. 0 gives n times the unweighted mean of all.

    Raises:
        ConfigError: ``hostile`` is negative.
        StackError: fewer than 2f + 1 updates.

    Differs from the paper: ties go to the smallest client id, where the paper leaves them open.
    """

    hostile: Annotated[int, Field(ge=0)] = 1

    merges = True
    laws = (CohortLayer.laws - {Law.IDENTITY}) | {Law.TRANSLATION}
    exempt = {Law.IDENTITY: "needs at least 2·hostile + 1 updates"}  # noqa: RUF012

    def __post_init__(self) -> None:
        check_fields(self)

    def minimum_rows(self) -> int:
        return 2 * self.hostile + 1

    def lift(self, cohort: Cohort, at: ServerAt) -> Cohort:
        require_rows(self, cohort)
        count = cohort.n - self.hostile
        return cohort.mixed(cohort.distances.nearest(count) / count)
