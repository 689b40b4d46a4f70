"""The randomised Hadamard rotation, by matrix products of 64 × 64."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float32

from qfedfm.core.key import Key

_FACTOR = 64
_SPAN = 2**15  # coordinates at a time: fresh memory for more costs as much as the arithmetic


@lru_cache(maxsize=8)
def _matrix(n: int) -> Float32[np.ndarray, "n n"]:
    found: np.ndarray = np.ones((1, 1))
    while len(found) < n:
        found = np.block([[found, found], [found, -found]])
    return np.asarray(found / np.sqrt(n), np.float32)


def hadamard(x: Float32[np.ndarray, "m n"]) -> Float32[np.ndarray, "m n"]:
    """H_n x for each row, H_n the Walsh–Hadamard matrix over √n, orthogonal and its own inverse; n a power of two."""
    rows, n = x.shape
    right = 1
    while right < n:
        factor = min(_FACTOR, n // right)
        if right == 1:
            x = x.reshape(-1, factor) @ _matrix(factor)
        else:
            x = np.matmul(_matrix(factor), x.reshape(-1, factor, right))
        right *= factor
    return x.reshape(rows, n)


def cuts(size: int, largest: int = 2**18) -> list[tuple[int, int, int]]:
    """Where equal blocks start and stop, and how long each of them is, from the largest to the smallest."""
    found = [(0, size - size % largest, largest)] if size >= largest else []
    start, rest, block = size - size % largest, size % largest, largest
    while rest:
        block //= 2
        if rest & block:
            found.append((start, start + block, block))
            start, rest = start + block, rest - block
    return found


class Rotation:
    """x ↦ H D x on blocks of the vector: random signs D, then a Hadamard matrix; orthogonal, and d stays d.

    The vector is cut into blocks of powers of two, from the largest to the smallest that the rest asks for, so that
    nothing is padded.

    Args:
        size: d.
        key: of the signs.
        largest: of the blocks, a power of two.
    """

    def __init__(self, size: int, key: Key, largest: int = 2**18) -> None:
        random = key.numpy().bytes(-(-size // 8))
        bits = np.unpackbits(np.frombuffer(random, np.uint8), count=size)
        self._signs = np.subtract(1, 2 * bits.view(np.int8), dtype=np.float32)
        self._parts = [
            (slice(begin, min(begin + max(block, _SPAN), stop)), block)
            for start, stop, block in cuts(size, largest)
            for begin in range(start, stop, max(block, _SPAN))
        ]

    def forward(self, x: Float32[np.ndarray, " d"]) -> Float32[np.ndarray, " d"]:
        """The rotated vector."""
        found = np.empty(x.shape, np.float32)
        for part, block in self._parts:
            found[part] = hadamard((x[part] * self._signs[part]).reshape(-1, block)).reshape(-1)
        return found

    def backward(self, y: Float32[np.ndarray, " d"]) -> Float32[np.ndarray, " d"]:
        """The vector that was rotated to y."""
        found = np.empty(y.shape, np.float32)
        for part, block in self._parts:
            np.multiply(hadamard(y[part].reshape(-1, block)).reshape(-1), self._signs[part], out=found[part])
        return found


class Mixing:
    """The whole vector rotated at once, whatever its length: a rotation of its first 2ᵏ numbers, then of its last 2ᵏ.

    2ᵏ is the largest power of two within the length, so that the two overlap and together reach every number.

    Args:
        size: d.
        key: of the signs.
    """

    def __init__(self, size: int, key: Key) -> None:
        block = 1 << (size.bit_length() - 1)
        parts = [slice(0, block), slice(size - block, size)][: 1 if block == size else 2]
        self._parts = [(part, Rotation(block, key.fold(number), block)) for number, part in enumerate(parts)]

    def forward(self, x: Float32[np.ndarray, " d"]) -> Float32[np.ndarray, " d"]:
        """The rotated vector."""
        y = x.copy()
        for part, rotation in self._parts:
            y[part] = rotation.forward(y[part])
        return y

    def backward(self, y: Float32[np.ndarray, " d"]) -> Float32[np.ndarray, " d"]:
        """The vector that was rotated to y."""
        x = y.copy()
        for part, rotation in reversed(self._parts):
            x[part] = rotation.backward(x[part])
        return x
