"""Quasi-probabilities onto the simplex."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64


def onto_simplex(q: Float64[np.ndarray, "b n"]) -> tuple[Float64[np.ndarray, "b n"], float]:
    """The nearest probabilities argmin_p ‖p − q‖₂ of each line, and by how much the lines moved on average.

    p_k = max(q_k − τ, 0) with the τ at which they sum to 1. The distance is the total variation ½ Σ_k |p_k − q_k|,
    averaged over the lines: the bias that the projection brings, since an unbiased estimate may have numbers below 0.

    Smolin, Gambetta & Smith, PRL 108, 070502 (2012), arXiv 1106.5458; Duchi et al., ICML 2008, Figure 1.
    Differs from the papers: all lines at once.

    Example:
        >>> p, bias = onto_simplex(np.array([[0.75, 0.5, -0.25]]))
        >>> p.tolist(), bias
        ([[0.625, 0.375, 0.0]], 0.25)
    """
    falling = -np.sort(-q, axis=1)
    excess = np.cumsum(falling, axis=1) - 1
    kept = (falling * np.arange(1, q.shape[1] + 1) > excess).sum(axis=1, keepdims=True)
    tau = np.take_along_axis(excess, kept - 1, axis=1) / kept
    p = np.maximum(q - tau, 0.0)
    p /= p.sum(axis=1, keepdims=True)
    return p, float(np.abs(p - q).sum(axis=1).mean() / 2)
