"""EDEN: a rotated vector in the centroids of the normal distribution, with an unbiased scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
import pydantic
from jaxtyping import Float32

from qfedfm.core.body import Reader
from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Distortion, Unbiased
from qfedfm.core.float32 import require_finite
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers._lloyd_max import lloyd_max
from qfedfm.layers._packing import pack, packed_length, unpack
from qfedfm.layers._rotated import RotatedBlocks, block_sizes


@part("eden", paper="Vargaftik et al., ICML 2022, arXiv 2108.08842")
@final
@dataclass(frozen=True)
class Eden(Codec):
    """x̂ = S Rᵀ Q(R x √d/‖x‖) with S = ‖x‖²/⟨R x, Q⟩: a random rotation R, and the Lloyd–Max centroids Q of b bits.

    E x̂ = x. With the mean squared error e of Q on the standard normal, ω = e/(1 − e):

    | bits | ½ | 1 | 1½ | 2 | 3 | 4 | 8 |
    |---|---|---|---|---|---|---|---|
    | ω | 2.14 | 0.571 | 0.317 | 0.133 | 0.0358 | 0.00959 | 4.1e-5 |

    This is the mean for large d under a uniformly random R; at small d the error is less (a third to a half at d = 2).
    At 1 bit it is DRIVE. Between whole numbers, a random part of the coordinates has the next larger number of bits,
    so that e is the mean of both. Below 1, a random part k/d of the coordinates of R x is sent in 1 bit, and d/k times
    as large: ω = (d/k)/(1 − e) − 1. Seeds do not travel: the parts are drawn from the key.

    Args:
        bits: of a coordinate, beside a float32 for each block of up to 2¹⁴ coordinates.

    Raises:
        PayloadError: a value is NaN or infinite, or the length differs.

    Differs from the paper: R acts on blocks of at most 2¹⁴, each with its S, so that nothing is padded; it has three
    Hadamard passes or more, and is uniformly random below 128 coordinates, see `Drive`. The random part is every
    (d/k)-th coordinate from a random one on: each has the same chance, and no mask has to be drawn. Below 1 bit the
    part is taken of the rotated vector, not of the vector before.

    Example:
        >>> import qfedfm as qf
        >>> layout = qf.Layout.of({"x": (2**14,)})
        >>> [qf.layers.Eden(bits).largest(layout) - 4 for bits in (0.5, 1.0, 2.25)]
        [1024, 2048, 4608]
    """

    bits: Annotated[float, pydantic.Field(gt=0, le=8)] = 1.0

    def __post_init__(self) -> None:
        check_fields(self)

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        key = at.key.fold("eden")
        blocks = RotatedBlocks(x.size, key)
        z, norms = blocks.forward(x)
        q, packed = np.zeros(x.size, np.float32), []
        for where, width in self._parts(x.size, key):
            numbers = lloyd_max(width).nearest(z[where])
            q[where] = lloyd_max(width).values(numbers)
            packed.append(pack(numbers, width))
        if self.bits < 1:
            q = lloyd_max(1).values(lloyd_max(1).nearest(z))
        return blocks.pack(blocks.unbiased(z, q, norms)) + b"".join(packed)

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        reader, size, key = Reader(body), at.layout.size, at.key.fold("eden")
        blocks = RotatedBlocks(size, key)
        scales = blocks.unpack(reader)
        q = np.zeros(size, np.float32)
        for (where, width), count in zip(self._parts(size, key), self._counts(size).values(), strict=True):
            q[where] = lloyd_max(width).values(unpack(reader, width, count))
        reader.end()
        return blocks.backward(q, scales * self._share(size))

    def _counts(self, size: int) -> dict[int, int]:
        """How many coordinates have how many bits."""
        low = int(self.bits)
        high = round((self.bits - low) * size)
        if not low:
            return {1: max(high, 1)}
        return {width: count for width, count in ((low, size - high), (low + 1, high)) if count}

    def _share(self, size: int) -> float:
        """One over the share of the coordinates that is sent."""
        return size / sum(self._counts(size).values())

    def _parts(self, size: int, key: Key) -> list[tuple[slice | np.ndarray, int]]:
        """Which coordinates have how many bits."""
        counts = self._counts(size)
        if counts.get(int(self.bits)) == size:
            return [(slice(None), int(self.bits))]
        widest, count = max(counts.items())
        offset = int(key.fold("part").numpy().integers(size))
        chosen = (np.arange(count) * size + offset) // count
        if len(counts) == 1:
            return [(chosen, widest)]
        others = np.ones(size, bool)
        others[chosen] = False
        return [(np.flatnonzero(others), widest - 1), (chosen, widest)]

    def largest(self, layout: Layout) -> int:
        packed = sum(packed_length(width, count) for width, count in self._counts(layout.size).items())
        return 4 * len(block_sizes(layout.size)) + packed

    def distortion(self, layout: Layout) -> Distortion:
        counts = self._counts(layout.size)
        error = sum(count * lloyd_max(width).error for width, count in counts.items()) / sum(counts.values())
        return Unbiased(self._share(layout.size) / (1 - error) - 1)
