"""Weighted sums of many vectors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32, Float64

_BLOCK = 2**23
"""Numbers in a block of updates, 32 MB: what a sum holds back of the updates that arrive one by one."""
_MOST_ROWS, _FEWEST_ROWS = 16, 4
_COLUMNS = 2**14
"""Columns at a time, so that the float64 sums of a chunk stay in the cache while the rows of a block pass by."""


@dataclass(frozen=True)
class Total:
    """Σ wᵢ xᵢ of the updates so far, in float64.

    Args:
        vector: d, the sum; `plus` adds to it in place.
        weights: of the updates so far, in their order.
    """

    vector: Float64[np.ndarray, " d"]
    weights: Float64[np.ndarray, " n"] = field(default_factory=lambda: np.empty(0))

    @property
    def shares(self) -> Float64[np.ndarray, " n"]:
        """The weights divided by their sum."""
        return np.asarray(self.weights / self.weights.sum())

    def mean(self) -> Float32[np.ndarray, " d"]:
        """Σ wᵢ xᵢ / Σ wᵢ; what rounding has carried past the largest float32 is set to it."""
        largest = np.finfo(np.float32).max
        mean = self.vector / self.weights.sum()
        return np.asarray(np.clip(mean, -largest, largest, out=mean), np.float32)


def block_rows(d: int) -> int:
    """How many updates of length d are added at once. More are faster; it depends on d alone, as the rounding does."""
    return max(_FEWEST_ROWS, min(_MOST_ROWS, _BLOCK // d))


def plus(total: Total, rows: Float32[np.ndarray, "m d"], weights: Float[np.ndarray, " m"]) -> Total:
    """The total with a block of updates more: float32 products and sums within the block, float64 between blocks.

    Within the block the weights sum to one half, so that even the largest float32 numbers do not overflow.

    Args:
        total: so far; its vector is changed and lives on in the result.
        rows: m × d updates; not changed.
        weights: theirs, positive.
    """
    mass = float(weights.sum())
    halves = (weights * (0.5 / mass)).astype(np.float32)
    for start in range(0, rows.shape[1], _COLUMNS):
        chunk = (halves @ rows[:, start : start + _COLUMNS]).astype(np.float64)
        chunk *= 2 * mass
        total.vector[start : start + _COLUMNS] += chunk
    return Total(total.vector, np.concatenate((total.weights, weights)))


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
