"""The codec that sends the upper half of every float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32

from qfedfm.core.distortion import Contractive, Distortion
from qfedfm.core.errors import PayloadError
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers._bfloat16 import from_bfloat16, to_bfloat16


@part("bfloat16", paper="Kalamkar et al., 2019, arXiv 1905.12322")
@final
@dataclass(frozen=True)
class Bfloat16(Codec):
    """Each coordinate rounded to the nearest bfloat16, ties to even; 2·d bytes, little-endian.

    |decode(encode(x)) − x| ≤ 2⁻⁸ |x| for every finite x of at least 2⁻¹²⁶, and ≤ 2⁻¹³⁴ below, where bfloat16 is
    subnormal. The numbers above 3.396e38 that would round to infinity are sent as the largest bfloat16, 3.390e38, which
    keeps the same bound.

    Raises:
        PayloadError: a value is NaN or infinite, or the length differs.

    Differs from the paper: subnormal numbers are kept, which the hardware there sets to zero; nothing rounds to
    infinity.

    Example:
        >>> import qfedfm as qf
        >>> qf.stack(qf.layers.Bfloat16(), reduce=qf.reduces.Mean()).codec.largest(qf.Layout.of({"x": (10,)}))
        20
    """

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        return to_bfloat16(x).tobytes()

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        if len(body) != 2 * at.layout.size:
            raise PayloadError(f"a bfloat16 body of {len(body)} bytes", f"{2 * at.layout.size}")
        x = from_bfloat16(np.frombuffer(body, "<u2"))
        require_finite(x, at.layout)
        return x

    def largest(self, layout: Layout) -> int:
        return 2 * layout.size

    def distortion(self, layout: Layout) -> Distortion:
        return Contractive(1 - 2.0**-16)
