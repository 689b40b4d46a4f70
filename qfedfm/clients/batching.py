"""Rows sorted by length and cut into micro-batches with little padding."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64


def cut(lengths: Int64[np.ndarray, " n"], tokens: int) -> list[np.ndarray]:
    """Positions of the rows in micro-batches, rows of like length together.

    Each micro-batch holds at most ``tokens`` tokens with its padding, or one row. Rows of equal length keep their
    order, so that the cut depends on the lengths only.

    Args:
        lengths: of each row, positive.
        tokens: the budget.

    Example:
        >>> [batch.tolist() for batch in cut(np.array([5, 1, 4, 1]), 10)]
        [[1, 3], [2, 0]]
    """
    order = np.argsort(lengths, kind="stable")
    found, first = [], 0
    for i in range(1, len(order) + 1):
        if i == len(order) or (i + 1 - first) * int(lengths[order[i]]) > tokens:
            found.append(order[first:i])
            first = i
    return found
