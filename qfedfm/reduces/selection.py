"""Reduces that choose whose updates to take, as a quadratic problem over bits."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.checks import check_fields, require_rows
from qfedfm.core.cohort import Cohort, Reduced, State
from qfedfm.core.key import Key
from qfedfm.core.parts import Law, Reduce, ServerAt
from qfedfm.quantum.qaoa import Quadratic
from qfedfm.reduces._columns import combine
from qfedfm.reduces.choice import Choice
from qfedfm.reduces.diameter import narrowest

_FARTHEST = 10.0
"""Of the median distance: what a distance counts at most, so that one huge update does not level all the others."""


@dataclass(frozen=True)
class SelectionReduce(Reduce):
    """The weighted mean of the n − f updates S with the least Σ_{i<j ∈ S} min(‖Δᵢ − Δⱼ‖² / m, 10), m their median.

    Hostile updates that lie apart cost each honest one a distance, so that the closest n − f updates are those of the
    honest majority. As minimum-diameter averaging (El Mhamdi et al., ICML 2018, arXiv 1802.07927) with the sum of the
    squared distances in the place of the largest, which is quadratic in the bits.

    With the objective ``diameter`` it is the largest distance itself, found by `narrowest`.

    Args:
        hostile: f, how many updates are left out.
        objective: ``squares``, the sum, or ``diameter``.

    Raises:
        ConfigError: a field is out of range.
        StackError: fewer than 2f + 1 updates.
    """

    hostile: Annotated[int, Field(ge=0)] = 1
    objective: Literal["squares", "diameter"] = "squares"

    laws = (Reduce.laws - {Law.IDENTITY}) | {Law.TRANSLATION, Law.CONVEX}
    exempt = {Law.IDENTITY: "needs at least 2·hostile + 1 updates"}  # noqa: RUF012

    def __post_init__(self) -> None:
        check_fields(self)

    def minimum_rows(self) -> int:
        return 2 * self.hostile + 1

    @abc.abstractmethod
    def choose(self, problem: Quadratic, size: int, key: Key) -> Choice:
        """Bits of which ``size`` are set, with a small value; not all values of the problem are equal."""

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        require_rows(self, cohort)
        order, size = np.argsort(cohort.clients), cohort.n - self.hostile
        squares, key = cohort.distances.squares[np.ix_(order, order)], at.key.fold("selection", at.round)
        problem = closeness(squares)
        if size == cohort.n or problem is None:
            choice = Choice(np.arange(cohort.n) < size)
        elif self.objective == "diameter":
            choice = narrowest(squares, size, self.choose, key)
        else:
            choice = self.choose(problem, size, key)
        chosen = np.empty(cohort.n, bool)
        chosen[order] = choice.bits
        weights = np.where(chosen, cohort.shares, 0.0)
        weights /= weights.sum()
        value = 0.0 if problem is None else float(problem.value(choice.bits.astype(np.float64)))
        diagnostics = {**choice.cost.diagnostics(), "reduce_parameters": 0.0, "selection_value": value, **choice.named}
        return Reduced(combine(weights, cohort.X), weights, diagnostics=diagnostics), state


def closeness(squares: Float64[np.ndarray, "n n"]) -> Quadratic | None:
    """xᵀQx = Σ_{i<j} min(D_ij / m, 10) x_i x_j of squared distances D with the median m; None where all are equal.

    Example:
        >>> closeness(np.array([[0, 1, 4], [1, 0, 2], [4, 2, 0]], float)).Q.tolist()
        [[0.0, 0.25, 1.0], [0.25, 0.0, 0.5], [1.0, 0.5, 0.0]]
    """
    pairs = squares[np.triu_indices(len(squares), 1)]
    if not len(pairs) or pairs.min() == pairs.max():
        return None
    # where most updates are equal the median is 0, and any of the other distances tells them apart
    median = float(np.median(pairs)) or float(pairs[pairs > 0].min())
    return Quadratic(np.minimum(squares / median, _FARTHEST) / 2)
