"""float32 to bfloat16 and back."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt16

_LARGEST = np.uint32(0x7F7F)
_SIGN = np.uint32(0x8000)


def to_bfloat16(x: Float32[np.ndarray, " n"]) -> UInt16[np.ndarray, " n"]:
    """The bits of the nearest bfloat16, ties to even, little-endian; what would round to infinity is the largest."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    magnitude = bits & np.uint32(0x7FFFFFFF)
    to_even = np.uint32(0x7FFF) + ((magnitude >> np.uint32(16)) & np.uint32(1))
    rounded = np.minimum((magnitude + to_even) >> np.uint32(16), _LARGEST)
    return np.asarray(rounded | ((bits >> np.uint32(16)) & _SIGN), "<u2")


def from_bfloat16(halves: UInt16[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    """The numbers, which may be NaN or infinite."""
    bits = np.asarray(halves.astype(np.uint32) << np.uint32(16))
    return bits.view(np.float32)
