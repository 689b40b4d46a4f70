"""Weighted sums of many vectors, column by column in chunks that stay in the cache."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64

from qfedfm.core.threads import over_columns

COLUMNS = 3 * 2**12
"""Columns of a chunk, whose sums stay in the cache."""
_BLOCK = 2**24
"""Numbers in a block of updates, 64 MB: what a sum holds back of the updates that arrive one by one."""
_MOST_ROWS, _FEWEST_ROWS = 64, 4
_CHUNK = 3 * 10**4
"""Columns that one thread works on at a time."""
_MOST_BLOCKS = 16
"""Blocks that are added up in float32 before they go to a float64 sum."""
LARGEST = np.finfo(np.float32).max


def block_rows(d: int) -> int:
    """How many updates of length d are added at once. More are faster; it depends on d alone, as the rounding does."""
    return max(_FEWEST_ROWS, min(_MOST_ROWS, _BLOCK // d))


class RunningMean:
    """Σᵢ wᵢ xᵢ / Σᵢ wᵢ of updates that come in blocks, in one pass over them and memory for a few d numbers.

    Half of the mean of up to 16 blocks is kept in float32, m ← (1 − μ/M) m + Σ_block (wᵢ / 2M) xᵢ with μ the block's
    and M the whole weight so far: a convex combination, so that even the largest float32 numbers do not overflow.
    Beyond that the means of 16 blocks are added in float64.

    Args:
        d: length of an update.
    """

    def __init__(self, d: int) -> None:
        self._half = np.empty(d, np.float32)
        self._part: Float32[np.ndarray, " d"] | None = None
        self._mass, self._blocks = 0.0, 0
        self._total: Float64[np.ndarray, " d"] | None = None
        self._whole = 0.0

    def add(self, rows: Float32[np.ndarray, "m d"], weights: Float[np.ndarray, " m"]) -> None:
        """Takes one block; the rows are not changed and may be reused.

        Args:
            rows: m × d updates, each contiguous.
            weights: theirs, not negative and not all 0.
        """
        if self._blocks == _MOST_BLOCKS:
            self._close()
        before = self._mass
        self._mass += float(np.add.reduce(weights))
        share = (weights / (2 * self._mass)).astype(np.float32)
        if not self._blocks:
            _product(share, rows, self._half)
        else:
            # by itself first: what is added to a large sum number by number loses as many digits
            part = self._part if self._part is not None else np.empty_like(self._half)
            _product(share, rows, part)
            _add_scaled(self._half, before / self._mass, part)
            self._part = part
        self._blocks += 1

    def _close(self) -> None:
        """Adds the mean of the last blocks to the float64 sum."""
        if self._total is None:
            self._total = np.zeros(len(self._half))
        self._total += np.multiply(self._half, 2 * self._mass, dtype=np.float64)
        self._whole += self._mass
        self._mass, self._blocks = 0.0, 0

    def finish(self) -> Float32[np.ndarray, " d"]:
        """The mean; no block may be added afterwards."""
        if self._total is not None:
            self._close()
            return saturate(self._total / self._whole)
        with np.errstate(over="ignore"):
            np.multiply(self._half, 2, out=self._half)
        return np.clip(self._half, -LARGEST, LARGEST, out=self._half)


def _product(
    weights: Float32[np.ndarray, " m"], rows: Float32[np.ndarray, "m d"], out: Float32[np.ndarray, " d"]
) -> None:
    """Writes w·rows.

    One batched product over chunks of the columns by torch, whose threads begin sooner than Python's and cost no call
    for each chunk; NumPy's own product is at half the speed of memory here.
    """
    import torch

    m, d = rows.shape
    chunks = max(1, d // _CHUNK)
    width = d // chunks
    y, x, w = torch.from_numpy(out), torch.from_numpy(rows), torch.from_numpy(weights)
    parts = x.as_strided((chunks, m, width), (width, x.stride(0), 1))
    torch.bmm(w.expand(chunks, 1, m), parts, out=y[: chunks * width].view(chunks, 1, width))
    torch.mv(x[:, chunks * width :].t(), w, out=y[chunks * width :])


def _add_scaled(total: Float32[np.ndarray, " d"], keep: float, part: Float32[np.ndarray, " d"]) -> None:
    """Sets t ← keep · t + part in place, in several threads."""
    import torch

    y = torch.from_numpy(total)
    torch.add(torch.from_numpy(part), y, alpha=keep, out=y)


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
