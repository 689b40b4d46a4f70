"""Weighted sums of many vectors, column by column in chunks that stay in the cache."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64

from qfedfm.core.threads import over_columns

COLUMNS = 3 * 2**12
"""Columns of a chunk, whose float64 sums stay in the cache."""
_BLOCK = 2**24
"""Numbers in a block of updates, 64 MB: what a sum holds back of the updates that arrive one by one."""
_MOST_ROWS, _FEWEST_ROWS = 64, 4
LARGEST = np.finfo(np.float32).max


def block_rows(d: int) -> int:
    """How many updates of length d are added at once. More are faster; it depends on d alone, as the rounding does."""
    return max(_FEWEST_ROWS, min(_MOST_ROWS, _BLOCK // d))


def add_block(
    total: Float64[np.ndarray, " d"], rows: Float32[np.ndarray, "m d"], weights: Float[np.ndarray, " m"]
) -> None:
    """Adds Σ wᵢ xᵢ to the total: float32 products and sums within the block, float64 between blocks.

    Within the block the weights sum to one half, so that even the largest float32 numbers do not overflow.

    Args:
        total: the sum so far, changed in place.
        rows: m × d updates; not changed.
        weights: theirs, not negative and not all 0.
    """
    mass = 2 * float(np.add.reduce(weights))
    products = (weights / mass).astype(np.float32) @ rows
    scaled = products.astype(np.float64)
    scaled *= mass
    total += scaled


def saturate(x: Float64[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """float32, with what rounding has carried past the largest number set to that number."""
    return np.asarray(np.clip(x, -LARGEST, LARGEST), np.float32)


def weighted_sum(weights: np.ndarray, X: np.ndarray) -> np.ndarray:
    """w·X in float32 products, which cost one pass over X; a sum beyond the largest float32 is set to it.

    Args:
        weights: n, or m × n for m sums.
        X: n × d, float32.
    """
    narrow = weights.astype(np.float32)
    total = np.empty((*weights.shape[:-1], X.shape[1]), np.float32)

    def work(columns: slice) -> None:
        with np.errstate(over="ignore"):
            part = narrow @ X[:, columns]
            np.clip(part, -LARGEST, LARGEST, out=part)
        total[..., columns] = part

    over_columns(X.shape[1], COLUMNS, work)
    return total
