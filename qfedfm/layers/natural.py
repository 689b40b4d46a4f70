"""Natural compression: every coordinate rounded to a power of two at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32, Integer, UInt8

from qfedfm.core.body import Reader
from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Distortion, Unbiased
from qfedfm.core.errors import PayloadError
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers._entropy import decode as decode_stream
from qfedfm.layers._entropy import encode as encode_stream
from qfedfm.layers._entropy import largest as stream_length
from qfedfm.layers._levels import Coding, pack_signs, unpack_signs
from qfedfm.layers._packing import packed_length

_FRACTION = np.uint32(23)
_MAGNITUDE = np.uint32(0x7FFFFFFF)
_LARGEST = np.uint32(0x7F7FFFFF)


def _code(exponents: UInt8[np.ndarray, " d"]) -> bytes:
    least = int(exponents.min(where=exponents > 0, initial=255))
    return bytes([least]) + encode_stream(np.where(exponents > 0, exponents - (least - 1), 0))


def _decode(reader: Reader, count: int) -> Integer[np.ndarray, " d"]:
    least, symbols = int(reader.number("u1")), decode_stream(reader, count)
    if not 1 <= least <= 256 - symbols.max():
        raise PayloadError(f"exponents from {least} to {least + symbols.max() - 1}", "1 to 255")
    return np.where(symbols > 0, symbols + (least - 1), 0)


@part("natural", paper="Horváth et al., MSML 2022, arXiv 1905.10988")
@final
@dataclass(frozen=True)
class Natural(Codec):
    """±2^e(1 + m) ↦ ±2^(e+1) with probability m, else ±2^e: the sign and the exponent of a float32 are left, 9 bits.

    Unbiased with E‖C(x) − x‖² ≤ ‖x‖²/8, attained where every m is 1/3. A subnormal x is sent as ±2⁻¹²⁶ with
    probability |x|/2⁻¹²⁶, else as 0: unbiased as well, but with a variance of up to 2⁻²⁵⁴. Above 2¹²⁷ the next power of
    two is beyond float32 and its largest number stands for it, which is 2⁻²⁴ less: the mean there is low by at most
    that share.

    The body is the exponents, 0 for zero and 1 to 255 for 2⁻¹²⁶ to 2¹²⁸, and a sign for each that is not zero. Entropy
    coding has the least exponent in front, in a byte, and counts the others from there.

    Args:
        coding: of the exponents: ``planes``, a byte for each, or ``entropy``, which takes 2 to 3 bits where values are
            spread like a Gaussian's.

    Raises:
        ConfigError: an option is out of range.
        PayloadError: a value is NaN or infinite, the length differs, or a body is not one of this codec.

    Differs from the paper: what happens below 2⁻¹²⁶ and above 2¹²⁷ is said above, the paper's numbers have no ends;
    zeros have no sign bit; entropy coding is added.
    """

    coding: Coding = "planes"

    def __post_init__(self) -> None:
        check_fields(self)

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32) & _MAGNITUDE
        # A float32 is 2^23 times its exponent plus its fraction m, so that a carry out of the fraction is the draw.
        bits += at.key.fold(self.name).numpy().integers(0, 2**23, len(x), dtype=np.uint32)
        exponents = (bits >> _FRACTION).astype(np.uint8)
        coded = _code(exponents) if self.coding == "entropy" else exponents.tobytes()
        return coded + pack_signs(x < 0, exponents > 0)

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        reader, size = Reader(body), at.layout.size
        exponents = _decode(reader, size) if self.coding == "entropy" else reader.numbers("u1", size)
        negative = unpack_signs(reader, exponents > 0)
        reader.end()
        bits = np.minimum(exponents.astype(np.uint32) << _FRACTION, _LARGEST)
        return np.asarray((bits | negative.astype(np.uint32) << np.uint32(31)).view(np.float32))

    def largest(self, layout: Layout) -> int:
        exponents = 1 + stream_length(layout.size) if self.coding == "entropy" else layout.size
        return exponents + packed_length(1, layout.size)

    def distortion(self, layout: Layout) -> Distortion:
        return Unbiased(1 / 8)
