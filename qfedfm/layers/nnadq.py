"""NNADQ: each tensor centred and rounded to as many levels as its range is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float32, Float64, Int64
from pydantic import Field

from qfedfm.core.body import Reader
from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Bounded, Distortion
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers._feedback import bounded
from qfedfm.layers._levels import (
    Buckets,
    pack_planes,
    planes_length,
    read_scales,
    rounded_up,
    signed,
    unpack_planes,
)

_LN4 = 1.3862943611198906
_FULL = 32
_MOST = 2**16 - 1
_GROUPS = 16 * 17 // 2
"""Bytes that planes of different widths, each filled up to whole bytes, can take more than those of one."""


@part("nnadq", paper="Chen et al., IJCAI 2023, arXiv 2208.05174, section 3.3")
@final
@dataclass(frozen=True)
class Nnadq(Codec):
    """v ↦ d · sign(v + o) · round(s |v + o|/d)/s − o in each tensor, with the range d = max|v + o| around the middle.

    o = −(max v + min v)/2 and s = ⌊max(1, √(ln 4 · 32 · d/w))⌋: the s that minimises d/s² + (w/32) log₂ s, where w is
    the price of a bit, of the 32 that a float32 has. The range counts in units of the update, so that a smaller update
    gets fewer levels. It draws nothing.

    |C(v) − v| ≤ d/(2s) in each coordinate, so that ‖C(v) − v‖∞ ≤ ‖v‖∞/2 whatever v is. No multiple of ‖v‖₂ bounds the
    error, since zeros come back as the level nearest to them, wherever the middle puts it. Biased.

    The body is o and d as float32 of each tensor, and the levels of the coordinates with a sign for those above 0; s
    follows from d and w and does not travel.

    Args:
        weight: w. The authors' experiments have 0.001.

    Raises:
        ConfigError: an option is out of range.
        PayloadError: a value is NaN or infinite, the length differs, or a body is not one of this codec.

    Differs from the paper: at most 65535 levels; half a level is rounded to the even one; o and d are rounded to
    float32, d upwards. The blocks that its FedOBD drops are another matter than their quantisation.

    Example:
        >>> Nnadq().distortion(Layout.of({"x": (5,)}))
        Bounded(rho=0.5)
    """

    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.001

    def __post_init__(self) -> None:
        check_fields(self)

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        buckets = Buckets.of(at.layout)
        highest, lowest = buckets.largest(x).astype(np.float64), -buckets.largest(-x).astype(np.float64)
        offsets: np.ndarray = (-(highest + lowest) / 2).astype("<f4")
        ranges = rounded_up(np.maximum(highest + offsets, -(lowest + offsets)))
        most = self._levels(ranges.astype(np.float64))
        centred = x + buckets.spread(offsets.astype(np.float64))
        per_step = np.divide(most, ranges, out=np.zeros(buckets.count), where=most > 0)
        levels = np.rint(np.abs(centred) * buckets.spread(per_step)).astype(np.int32)
        return offsets.tobytes() + ranges.tobytes() + pack_planes(levels, centred < 0, most, buckets)

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        reader, buckets = Reader(body), Buckets.of(at.layout)
        offsets = reader.finite(buckets.count).astype(np.float64)
        ranges = read_scales(reader, buckets.count)
        most = self._levels(ranges)
        levels, negative = unpack_planes(reader, most, buckets)
        reader.end()
        values = signed(levels, negative, ranges / np.maximum(most, 1), buckets)
        return bounded(values - buckets.spread(offsets))

    def _levels(self, ranges: Float64[np.ndarray, " t"]) -> Int64[np.ndarray, " t"]:
        """Of each tensor s, 0 for one that is constant; in operations that every machine rounds alike."""
        wanted = np.clip(np.sqrt(_LN4 * _FULL * ranges / self.weight), 1, _MOST)
        return np.where(ranges > 0, wanted, 0).astype(np.int64)

    def largest(self, layout: Layout) -> int:
        return 8 * Buckets.of(layout).count + planes_length(_MOST, layout.size) + _GROUPS

    def distortion(self, layout: Layout) -> Distortion:
        return Bounded(0.5)
