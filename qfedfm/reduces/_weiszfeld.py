"""The smoothed geometric median of n points, from their inner products alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

_MOST_ITERATIONS = 2_000
_PLAIN_ITERATIONS = 30
_STEPS = (1.0, 0.5, 0.2, 0.05, 0.01)

Weights = Float64[np.ndarray, " n"]
Square = Float64[np.ndarray, "n n"]


def geometric_median(
    G: Square, shares: Weights, weights: Weights, smoothing: float, tolerance: float
) -> tuple[Weights, int, float]:
    """Weights w ≥ 0 of z = Σ wᵢ xᵢ with ‖∇F(z)‖ ≤ tolerance for F(z) = Σ αᵢ √(‖z − xᵢ‖² + μ²).

    Weiszfeld's step sets wᵢ ∝ βᵢ = αᵢ/√(‖z − xᵢ‖² + μ²). It is slow where the minimum is flat or lies near a point, so
    that after 30 of them a Newton step is tried first, which needs no more than the inner products either.

    Args:
        G: xᵢ · xⱼ; the origin should lie near the median.
        shares: α, positive, sum 1.
        weights: where to start, sum 1.
        smoothing: μ, in the units of the points.
        tolerance: of the gradient's norm, which has no unit and is below 1.

    Returns:
        The weights, the number of steps, and the gradient's norm before the last one. After 2,000 steps it returns what
        it has reached.
    """
    pulls, residual = _pulls(G, shares, weights, smoothing)
    for iteration in range(_MOST_ITERATIONS):
        plain = pulls / pulls.sum()
        if residual <= tolerance:
            return plain, iteration, residual
        for length, trial in _newton(G, shares, weights, pulls) if iteration >= _PLAIN_ITERATIONS else ():
            trial_pulls, trial_residual = _pulls(G, shares, trial, smoothing)
            if trial_residual < (1 - length / 2) * residual:
                weights, pulls, residual = trial, trial_pulls, trial_residual
                break
        else:
            weights = plain
            pulls, residual = _pulls(G, shares, weights, smoothing)
    return pulls / pulls.sum(), _MOST_ITERATIONS, residual


def _pulls(G: Square, shares: Weights, weights: Weights, smoothing: float) -> tuple[Weights, float]:
    """β at z = Σ wᵢ xᵢ, and the gradient's norm ‖Σ βᵢ (z − xᵢ)‖."""
    products = G @ weights
    squares = np.diagonal(G) - 2 * products + weights @ products
    pulls = shares / np.sqrt(np.maximum(squares, 0) + smoothing**2)
    gradient = pulls.sum() * weights - pulls
    return pulls, float(np.sqrt(max(gradient @ (G @ gradient), 0.0)))


def _newton(G: Square, shares: Weights, weights: Weights, pulls: Weights) -> Iterator[tuple[float, Weights]]:
    """Newton steps on F of several lengths, the longest first; none where the Hessian is singular.

    With A the columns z − xᵢ, K = AᵀA, r the smoothed distances and B = Σ β, the Hessian is B·I − A diag(β/r²) Aᵀ;
    by the Woodbury identity the step is −A c with (B diag(r³/α) − K) c = r², here scaled by r^(3/2) on both sides.
    """
    r = shares / pulls
    products = G @ weights
    K = G - products[:, None] - products + weights @ products
    scale = r**-1.5
    system = np.diag(pulls.sum() / shares) - scale[:, None] * K * scale
    try:
        c = scale * np.linalg.solve(system, np.sqrt(r))
    except np.linalg.LinAlgError:
        return
    step = c - c.sum() * weights
    yield from ((length, weights + length * step) for length in _STEPS)
