"""A vector in blocks, each in a random rotation of its own: what DRIVE and EDEN quantise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64

from qfedfm.core.body import Reader
from qfedfm.core.key import Key
from qfedfm.layers._feedback import bounded
from qfedfm.layers._hadamard import Rotation, cuts

_UNIFORM, _FOUR_PASSES, _LARGE = 128, 2**10, 2**14
_HEADROOM = 4.0  # a scale can be a little more than twice the largest coordinate


@lru_cache(maxsize=4)
def uniform(n: int, key: Key) -> Float32[np.ndarray, "n n"]:
    """A rotation drawn uniformly (Haar): the Q of a Gaussian matrix, with the signs of R (Mezzadri, 2007)."""
    q, r = np.linalg.qr(key.numpy().standard_normal((n, n)))
    return np.asarray(q * np.copysign(1.0, np.diagonal(r)), np.float32)


def block_sizes(size: int) -> list[int]:
    """The lengths of the blocks that so many coordinates are cut into."""
    tail = size % _UNIFORM
    blocks = [block for start, stop, block in cuts(size - tail, _LARGE) for _ in range(start, stop, block)]
    return blocks + [tail] * bool(tail)


class RotatedBlocks:
    """x ↦ R x, block by block, with each block brought to length √n before.

    Blocks are powers of two, from 2¹⁴ (what the processor keeps at hand) down to 128, and R is H D₃ H D₂ H D₁ with
    random signs Dᵢ. One pass alone does not make a vector of few large coordinates look Gaussian: of x = (1, 0.99, 0,
    …) every rotated coordinate has the sign of its first term at any n, so that the expected output of one-bit
    quantisation is (1.98, 0, …), a squared bias of 0.98 ‖x‖². Two leave 0.02 ‖x‖² at n = 64 and 0.001 ‖x‖² at 1024.
    Below 1024, where six bits could still tell three passes from a uniform rotation, there are four. What is left of
    the vector, fewer than 128 coordinates, is one block with a uniformly random R.

    Args:
        size: d.
        key: of R.
    """

    def __init__(self, size: int, key: Key) -> None:
        small, tail = size - size % _FOUR_PASSES, size - size % _UNIFORM
        self._tail = slice(tail, size)
        self._passes = [
            (part, [Rotation(part.stop - part.start, key.fold(name, number), _LARGE) for number in range(passes)])
            for name, part, passes in (("large", slice(0, small), 3), ("small", slice(small, tail), 4))
            if part.stop > part.start
        ]
        self._matrix = uniform(size - tail, key.fold("tail")) if size > tail else np.zeros((0, 0), np.float32)
        self.sizes = np.array(block_sizes(size))
        self._starts = np.cumsum(self.sizes) - self.sizes
        self._blocks = [slice(start, start + n) for start, n in zip(self._starts, self.sizes, strict=True)]

    def forward(self, x: Float32[np.ndarray, " d"]) -> tuple[Float32[np.ndarray, " d"], Float64[np.ndarray, " m"]]:
        """The rotated blocks, each of length √n (or zero), and the lengths that they had."""
        z, norms = np.empty_like(x), np.empty(len(self.sizes))
        for number, block in enumerate(self._blocks):
            norms[number] = norm = np.sqrt(np.square(x[block], dtype=np.float64).sum())
            z[block] = x[block] * (np.sqrt(self.sizes[number]) / (norm or 1.0))
        for part, rotations in self._passes:
            for rotation in rotations:
                z[part] = rotation.forward(z[part])
        z[self._tail] = self._matrix @ z[self._tail]
        return z, norms

    def backward(self, z: Float32[np.ndarray, " d"], factors: Float64[np.ndarray, " m"]) -> Float32[np.ndarray, " d"]:
        """The blocks rotated back, each times its factor, within the range of float32."""
        x = z.copy()
        for part, rotations in self._passes:
            for rotation in reversed(rotations):
                x[part] = rotation.backward(x[part])
        x[self._tail] = self._matrix.T @ x[self._tail]
        for block, factor in zip(self._blocks, factors, strict=True):
            x[block] = bounded(x[block] * factor)
        return x

    def products(self, z: Float32[np.ndarray, " d"], q: Float32[np.ndarray, " d"]) -> Float64[np.ndarray, " m"]:
        """⟨z, q⟩ of each block."""
        return np.add.reduceat(z * q, self._starts, dtype=np.float64)

    def unbiased(
        self, z: Float32[np.ndarray, " d"], q: Float32[np.ndarray, " d"], norms: Float64[np.ndarray, " m"]
    ) -> Float64[np.ndarray, " m"]:
        """S = ‖x‖²/⟨R x, q⟩ of each block, with which E S Rᵀ q = x under a uniformly random R; 0 where x is."""
        products = self.products(z, q)
        return np.where(norms > 0, norms * np.sqrt(self.sizes) / np.where(products > 0, products, 1), 0)

    @staticmethod
    def pack(scales: Float64[np.ndarray, " m"]) -> bytes:
        """Scales as float32, a quarter of each: that of a constant vector of the largest number fits too."""
        return bounded(scales / _HEADROOM).astype("<f4").tobytes()

    def unpack(self, reader: Reader) -> Float64[np.ndarray, " m"]:
        """The scales that `pack` packed.

        Raises:
            PayloadError: the body ends before, or a scale is not finite.
        """
        return reader.finite(len(self.sizes)).astype(np.float64) * _HEADROOM
