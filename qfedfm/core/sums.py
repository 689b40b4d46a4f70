"""Weighted sums of many vectors."""

from __future__ import annotations

import numpy as np


def weighted_sum(weights: np.ndarray, X: np.ndarray) -> np.ndarray:
    """w·X in float32 products, which cost one pass over X; a sum beyond the largest float32 is set to it.

    Args:
        weights: n, or m × n for m sums.
        X: n × d, float32.
    """
    with np.errstate(over="ignore"):
        total = weights.astype(np.float32) @ X
    largest = np.finfo(np.float32).max
    return np.asarray(np.clip(total, -largest, largest, out=total))
