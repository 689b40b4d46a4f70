"""Work on a cohort's matrix by chunks of columns that stay in the cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32, Float64

_COLUMNS = 2048


def over_sorted_columns(
    X: Float32[np.ndarray, "n d"], statistic: Callable[[np.ndarray], np.ndarray]
) -> Float32[np.ndarray, " d"]:
    """A statistic of each coordinate's n values, sorted.

    The columns are copied into contiguous rows first, because sorting along a contiguous axis is vectorised;
    ``np.partition`` is several times slower here.

    Args:
        X: n × d updates; not changed.
        statistic: c × n ascending values to c numbers, float64.
    """
    out = np.empty(X.shape[1], np.float32)
    for start in range(0, X.shape[1], _COLUMNS):
        columns = X[:, start : start + _COLUMNS].T.copy(order="C")
        columns.sort(axis=1)
        out[start : start + _COLUMNS] = statistic(columns)
    return out


def combine(weights: Float[np.ndarray, " n"], X: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " d"]:
    """Σᵢ wᵢ xᵢ for weights that sum to 1, in float64.

    A huge row with a tiny weight needs the range: 1e38 · 1e-44 is 1e-6 in float64 and noise in float32.
    """
    rows = np.flatnonzero(weights)
    kept = weights[rows].astype(np.float64)
    out: Float64[np.ndarray, " d"] = np.empty(X.shape[1])
    for start in range(0, X.shape[1], _COLUMNS):
        out[start : start + _COLUMNS] = kept @ X[rows, start : start + _COLUMNS].astype(np.float64)
    return saturate(out)


def saturate(x: Float64[np.ndarray, " d"]) -> Float32[np.ndarray, " d"]:
    """float32, with what rounding has carried past the largest number set to that number."""
    largest = np.finfo(np.float32).max
    return np.asarray(np.clip(x, -largest, largest), np.float32)
