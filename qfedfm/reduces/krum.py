"""Krum of Blanchard et al. (2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float64, Int64
from pydantic import Field

from qfedfm.core.checks import check_fields, require_rows
from qfedfm.core.cohort import Cohort, Reduced, State
from qfedfm.core.distances import ranking
from qfedfm.core.pairs import doubtful
from qfedfm.core.parts import Law, Reduce, ServerAt
from qfedfm.core.registry import part


@part("krum", paper="Blanchard et al., NeurIPS 2017, arXiv 1703.02757")
@final
@dataclass(frozen=True)
class Krum(Reduce):
    """x_{i*} with i* = argminᵢ s(i), s(i) = Σ ‖xᵢ − xⱼ‖² over the n − f − 2 updates j ≠ i nearest to i (Section 4).

    Every update counts once, whatever its sample weight. The row weights are 1 for the chosen update and 0 else.

    Args:
        hostile: f, how many updates may be hostile.

    Raises:
        ConfigError: ``hostile`` is negative.
        StackError: fewer than 2f + 3 updates, for which the paper proves nothing.

    Differs from the paper: a tie goes to the smallest client id, where the paper takes the smallest position; scores
    that agree in ten digits are a tie.
    """

    hostile: Annotated[int, Field(ge=0)] = 1

    laws = (Reduce.laws - {Law.IDENTITY}) | {Law.TRANSLATION, Law.CONVEX}
    exempt = {Law.IDENTITY: "needs at least 2·hostile + 3 updates"}  # noqa: RUF012

    def __post_init__(self) -> None:
        check_fields(self)

    def minimum_rows(self) -> int:
        return 2 * self.hostile + 3

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        require_rows(self, cohort)
        (chosen,) = least(cohort, self.hostile, 1)
        weights = np.zeros(cohort.n)
        weights[chosen] = 1.0
        return Reduced(cohort.X[chosen].copy(), row_weights=weights), state


def least(cohort: Cohort, hostile: int, count: int) -> Int64[np.ndarray, " m"]:
    """Positions of the ``count`` updates with the smallest scores, the smallest first; small is trustworthy.

    Where the errors of the distances leave it open which updates these are, the distances from those in doubt are
    settled first.
    """
    known, unsettled = cohort.distances, None
    while known is not unsettled:
        unsettled = known
        low = scores(known.squares - known.errors, hostile)
        high = scores(known.squares + known.errors, hostile)
        doubts = doubtful((low + high) / 2, (high - low) / 2, count)
        known = known.settled(np.broadcast_to(doubts[:, None], known.squares.shape))
    return ranking(scores(known.squares, hostile), cohort.clients)[:count]


def scores(squares: Float64[np.ndarray, "n n"], hostile: int) -> Float64[np.ndarray, " n"]:
    """s(i) = Σ ‖xᵢ − xⱼ‖² over the n − f − 2 updates j ≠ i nearest to i."""
    D = squares.copy()
    np.fill_diagonal(D, np.inf)
    D.sort(axis=1)
    return np.asarray(D[:, : len(D) - hostile - 2].sum(axis=1))
