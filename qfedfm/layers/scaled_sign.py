"""The signs of each tensor, scaled by its mean magnitude."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32

from qfedfm.core.body import Reader
from qfedfm.core.distortion import Contractive, Distortion
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers._levels import Buckets, read_scales
from qfedfm.layers._packing import packed_length


@part("scaled-sign", paper="Karimireddy et al., ICML 2019, arXiv 1901.09847, section 4; Bernstein et al., ICML 2018")
@final
@dataclass(frozen=True)
class ScaledSign(Codec):
    """x ↦ (‖x‖₁/n) · sign(x) in each tensor of n coordinates, where sign(0) = 1.

    The body is a float32 for each tensor and a bit for each coordinate.

    ‖C(x) − x‖² = (1 − φ) ‖x‖² with the density φ = ‖x‖₁²/(n ‖x‖₂²) of the tensor (the paper's lemma), which is 2/π
    for a Gaussian one and 1/n where one coordinate is all there is; δ is 1/n of the largest tensor. Biased: it wants
    `error-feedback`. It draws nothing. A tensor of zeros stays one.

    Raises:
        PayloadError: a value is NaN or infinite, the length differs, or a body is not one of this codec.

    Differs from the paper: tensors are scaled by themselves, as in its experiments; its algorithm scales the vector.

    Example:
        >>> ScaledSign().distortion(Layout.of({"x": (5, 2), "y": (4,)}))
        Contractive(delta=0.1)
    """

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        buckets = Buckets.of(at.layout)
        scales: np.ndarray = (buckets.total(np.abs(x)) / buckets.sizes).astype("<f4")
        return scales.tobytes() + np.packbits(x < 0).tobytes()

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        reader, buckets, size = Reader(body), Buckets.of(at.layout), at.layout.size
        scales: np.ndarray = buckets.spread(read_scales(reader, buckets.count).astype(np.float32))
        negative = np.unpackbits(reader.numbers("u1", packed_length(1, size)), count=size).view(bool)
        reader.end()
        np.negative(scales, out=scales, where=negative)
        return scales

    def largest(self, layout: Layout) -> int:
        return 4 * Buckets.of(layout).count + packed_length(1, layout.size)

    def distortion(self, layout: Layout) -> Distortion:
        return Contractive(1 / Buckets.of(layout).longest)
