"""The geometric median of Pillutla et al. (2022), by Weiszfeld's iteration in the space of the row weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import ClientId, Cohort, Reduced, State
from qfedfm.core.distances import ranking
from qfedfm.core.parts import Law, Reduce, ServerAt
from qfedfm.core.registry import part
from qfedfm.reduces._columns import combine
from qfedfm.reduces._weiszfeld import geometric_median


@part("geometric-median", paper="Pillutla et al., IEEE TSP 2022, arXiv 1912.13445")
@final
@dataclass(frozen=True)
class GeometricMedian(Reduce):
    """argmin_z Σᵢ αᵢ √(‖z − xᵢ‖² + μ²), with αᵢ the sample shares.

    Weiszfeld's iteration z ← Σ βᵢ xᵢ / Σ βᵢ, βᵢ = αᵢ / √(‖z − xᵢ‖² + μ²), runs on n weights and the n × n Gram matrix.
    μ is relative to the spread s of the updates, s = minᵢ of the α-weighted median distance from xᵢ, so that nothing
    depends on the scale of the updates. It starts at the mean of those updates, half of them by weight, that lie
    within s of the update that attains it, and ends when the gradient's norm ‖Σ βᵢ (z − xᵢ)‖, a number between 0 and
    1 whatever the scale, is at most the tolerance; then the objective is within a factor 1/(1 − 2·tolerance) of its
    minimum. Where half of the weight sits on one point that point is the result.

    ``row_weights`` are βᵢ / Σ β; the diagnostics ``weiszfeld_iterations`` and ``weiszfeld_residual`` (the last
    gradient norm) say how it went. Where Weiszfeld's iteration is slow, Newton steps on the same objective help; after
    2,000 iterations it stops with the residual that it has reached.

    Args:
        smoothing: μ / s.
        tolerance: of the norm of the gradient.

    Raises:
        ConfigError: a field is not positive or not below 1.

    Differs from the paper: μ is relative, where the paper has an absolute ν = 1e-6 that bounds the distance below;
    iterates to convergence, where the paper stops after a few rounds to save secure sums; inner products of large
    cohorts are float32 ones, so that distances are right to about 1e-7 (1e-5 for the worst updates) of themselves.
    """

    smoothing: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-6

    laws = Reduce.laws | {Law.TRANSLATION, Law.CONVEX}

    def __post_init__(self) -> None:
        check_fields(self)

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        shares = cohort.shares
        start, spread, weights = _start(np.sqrt(cohort.distances.squares), shares, cohort.clients)
        if spread == 0:
            return Reduced(cohort.X[start].copy(), row_weights=np.eye(cohort.n)[start]), state
        weights, iterations, residual = geometric_median(
            cohort.distances.gram(start), shares, weights, self.smoothing * spread, self.tolerance
        )
        diagnostics = {"weiszfeld_iterations": float(iterations), "weiszfeld_residual": residual}
        return Reduced(combine(weights, cohort.X), row_weights=weights, diagnostics=diagnostics), state


def _start(
    distances: Float64[np.ndarray, "n n"], shares: Float64[np.ndarray, " n"], clients: tuple[ClientId, ...]
) -> tuple[int, float, Float64[np.ndarray, " n"]]:
    """The update whose weighted median distance is least, that distance, and the weights of the nearer half."""
    order = ranking(distances, clients)
    reached = np.cumsum(shares[order], axis=1) >= 0.5 * (1 - 1e-12)
    medians = np.take_along_axis(distances, order, axis=1)[np.arange(len(shares)), reached.argmax(axis=1)]
    start = int(ranking(medians, clients)[0])
    near = np.where(distances[start] <= medians[start], shares, 0.0)
    return start, float(medians[start]), near / near.sum()
