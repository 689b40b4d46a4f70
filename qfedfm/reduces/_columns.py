"""Work on a cohort's matrix by chunks of columns that stay in the cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32

from qfedfm.core.sums import COLUMNS, RunningMean, saturate
from qfedfm.core.threads import over_columns

_COLUMNS = 2048
_ROWS = 64
_SMALLEST = 1e-30
"""A weight above this keeps its digits in float32, and so does its product with what it is to count for."""


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

    def work(columns: slice) -> None:
        values = X[:, columns].T.copy(order="C")
        values.sort(axis=1)
        out[columns] = statistic(values)

    over_columns(X.shape[1], _COLUMNS, work)
    return out


def combine(weights: Float[np.ndarray, " n"], X: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " d"]:
    """Σᵢ wᵢ xᵢ for weights that sum to 1: in float32 as the mean is, unless a weight is too small for it.

    A huge row with a tiny weight needs the range of float64: 1e38 · 1e-44 is 1e-6 there and noise in float32.
    """
    rows = np.flatnonzero(weights)
    if weights[rows].min() >= _SMALLEST:
        mean = RunningMean(X.shape[1])
        for start in range(0, len(X), _ROWS):
            if weights[start : start + _ROWS].any():
                mean.add(X[start : start + _ROWS], weights[start : start + _ROWS])
        return mean.finish()
    out = np.empty(X.shape[1], np.float32)

    def work(columns: slice) -> None:
        total = np.zeros(columns.stop - columns.start)
        for row in rows:
            total += weights[row] * X[row, columns].astype(np.float64)
        out[columns] = saturate(total)

    over_columns(X.shape[1], COLUMNS, work)
    return out
