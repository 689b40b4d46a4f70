"""QSGD: stochastic rounding to a few levels of a bucket's norm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, final

import numpy as np
from jaxtyping import Float32, Float64
from pydantic import Field

from qfedfm.core.body import Reader
from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Distortion, Unbiased
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers._entropy import largest as stream_length
from qfedfm.layers._feedback import bounded
from qfedfm.layers._levels import (
    Buckets,
    Coding,
    draw,
    entropy_code,
    entropy_decode,
    omega,
    pack_planes,
    planes_length,
    read_scales,
    rounded_up,
    signed,
    unpack_planes,
)


@part(
    "qsgd", paper="Alistarh et al., NeurIPS 2017, arXiv 1610.02132; FedPAQ: Reisizadeh et al., 2020, arXiv 1909.13014"
)
@final
@dataclass(frozen=True)
class Qsgd(Codec):
    """xᵢ ↦ ‖b‖ · sign(xᵢ) · ξᵢ/s in each bucket b, ξᵢ ∈ {0, …, s} the whole number below or above s|xᵢ|/‖b‖ at random.

    Unbiased, with E‖C(x) − x‖² ≤ ω ‖x‖² for the largest bucket, of n coordinates:

    - ``linf``, ‖b‖ the largest magnitude: ω = (√(1 + (n − 1)/s²) − 1)/2;
    - ``l2``, ‖b‖ the Euclidean norm: ω = √n/s − 1 where √n ≥ 2s, else n/(4s²).

    Both are least bounds, up to the rounding of the norm to float32; that of the paper, min(n/s², √n/s), is for ``l2``
    and larger.

    FedPAQ's quantiser is this codec with ``l2`` and ``vector`` (or ``tensor``) and its s as ``levels``; the rest of
    FedPAQ is the protocol: r of n clients take part in a round, each takes τ local steps, the server adds the mean.

    The body is a float32 for each bucket, which is ‖b‖ for ``linf`` and ‖b‖/√n for ``l2``, and then the levels.

    Args:
        norm: which norm of the bucket the levels divide.
        levels: s. 2^k − 1 uses k planes fully; ``linf`` with 1 is TernGrad.
        bucket: coordinates that share a norm: a number of them, a ``tensor``, or the whole ``vector``.
        coding: ``planes``, k bits of level for a coordinate and a sign for those that are not zero, or ``entropy``.

    Raises:
        ConfigError: an option is out of range.
        PayloadError: a value is NaN or infinite, the length differs, or a body is not one of this codec.

    Differs from the paper: Elias codes are replaced by bit planes or asymmetric numeral systems. With ``l2`` a norm
    beyond float32 leaves levels beyond it, which are cut at its largest number. The default, 4 bits with buckets of 512
    scaled by their maximum, is what the paper's experiments use in the place of its theory's norm.

    Example:
        >>> Qsgd(norm="l2", levels=1, bucket=100).distortion(Layout.of({"x": (300,)}))
        Unbiased(omega=9.0)
    """

    norm: Literal["l2", "linf"] = "linf"
    levels: Annotated[int, Field(ge=1, le=2047)] = 7
    bucket: Annotated[int, Field(ge=1)] | Literal["tensor", "vector"] = 512
    coding: Coding = "planes"

    def __post_init__(self) -> None:
        check_fields(self)

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        buckets, magnitudes = Buckets.of(at.layout, self.bucket), np.abs(x, dtype=np.float64)
        scales = self._scales(magnitudes, buckets)
        levels = draw(magnitudes, self._steps(scales, buckets), buckets, at.key.fold(self.name))
        if self.coding == "entropy":
            return scales.tobytes() + entropy_code(levels, x < 0, self.levels)
        return scales.tobytes() + pack_planes(levels, x < 0, np.full(buckets.count, self.levels), buckets)

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        reader, buckets = Reader(body), Buckets.of(at.layout, self.bucket)
        scales = read_scales(reader, buckets.count)
        if self.coding == "entropy":
            levels, negative = entropy_decode(reader, self.levels, at.layout.size)
        else:
            levels, negative = unpack_planes(reader, np.full(buckets.count, self.levels), buckets)
        reader.end()
        return bounded(signed(levels, negative, self._steps(scales, buckets), buckets))

    def _scales(self, magnitudes: Float64[np.ndarray, " d"], buckets: Buckets) -> Float32[np.ndarray, " b"]:
        """The least float32 from the norm on, so that no level is above s; the norm over √n always is in its range."""
        if self.norm == "linf":
            return rounded_up(buckets.largest(magnitudes))
        return rounded_up(np.sqrt(buckets.total(magnitudes**2) / buckets.sizes))

    def _steps(self, scales: np.ndarray, buckets: Buckets) -> Float64[np.ndarray, " b"]:
        norms = scales.astype(np.float64) * (np.sqrt(buckets.sizes) if self.norm == "l2" else 1.0)
        return np.asarray(norms / self.levels)

    def largest(self, layout: Layout) -> int:
        coded = stream_length if self.coding == "entropy" else lambda count: planes_length(self.levels, count)
        return 4 * Buckets.of(layout, self.bucket).count + coded(layout.size)

    def distortion(self, layout: Layout) -> Distortion:
        size = Buckets.of(layout, self.bucket).longest
        if self.norm == "linf":
            return Unbiased(omega(self.levels, size))
        root = math.sqrt(size)
        return Unbiased(root / self.levels - 1 if root >= 2 * self.levels else size / (4 * self.levels**2))
