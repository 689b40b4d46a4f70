"""QSGD with as many levels for each tensor as a budget of bits or of error is best spent on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float32, Float64, Int64
from pydantic import Field

from qfedfm.core.body import Reader
from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Distortion, Unbiased
from qfedfm.core.errors import ConfigError
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers._feedback import bounded
from qfedfm.layers._levels import (
    Buckets,
    draw,
    omega,
    pack_planes,
    planes_length,
    read_scales,
    rounded_up,
    signed,
    unpack_planes,
)
from qfedfm.layers._packing import pack, packed_length, unpack

_BITS = 4.0
_WIDEST = 15
_MOST = 2 ** np.arange(1, _WIDEST + 1) - 1
_GROUPS = _WIDEST * (_WIDEST + 1) // 2
"""Bytes that planes of different widths, each filled up to whole bytes, can take more than those of one."""


@part(
    "dynamic-qsgd", paper="after Alistarh et al., NeurIPS 2017, arXiv 1610.02132, and Jhunjhunwala et al., ICASSP 2021"
)
@final
@dataclass(frozen=True)
class DynamicQsgd(Codec):
    """QSGD of s_t = 2^w_t − 1 levels of R_t = max|x| in each tensor t, with the widths w_t chosen for each update.

    The variance of a tensor of n_t coordinates is at most V_t(w) = n_t R_t²/(4 (2^w − 1)²). Widths minimise Σ V_t at
    the size that ``bits`` allows, or the size at a Σ V_t of at most ``nmse`` · ‖x‖²: from one bit everywhere on, the
    next bit goes to the tensor of the largest decrease of V_t for a bit of the body, (V_t(w) − V_t(w + 1))/n_t. V_t is
    convex, so that this is the Lagrangian optimum: no other widths of that size have a smaller sum. What is left of a
    size goes to the largest decreases that still fit.

    Unbiased. With ``nmse`` ω is that number, or what 15 bits for the largest tensor may err where that is more. With
    ``bits`` a tensor that matters little may be left with one level, so that ω = (√n − 1)/2 of the largest tensor is
    all that holds for every vector; the usual error is far smaller.

    The body is w_t in four bits, 0 for a tensor of zeros, R_t as a float32 of each other tensor, and the levels, with
    a sign for those above 0.

    Args:
        bits: the most bits for a coordinate that the body takes, all included and with every sign counted; where one
            level for each tensor takes more, it takes that. With neither option 4.
        nmse: the largest expected ‖C(x) − x‖²/‖x‖².

    Raises:
        ConfigError: both options are set, or one is out of range.
        PayloadError: a value is NaN or infinite, the length differs, or a body is not one of this codec.

    Differs from the paper: QSGD has one number of levels for all; AdaQuantFL changes it from round to round by the
    loss; here it follows from the update alone.

    Example:
        >>> DynamicQsgd(nmse=0.1).distortion(Layout.of({"x": (300,)}))
        Unbiased(omega=0.1)
    """

    bits: Annotated[float, Field(ge=2, le=17)] | None = None
    nmse: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.bits is not None and self.nmse is not None:
            raise ConfigError(f"codec {self.name!r}: bits = {self.bits}, nmse = {self.nmse}", "one of the two")

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        buckets, magnitudes = Buckets.of(at.layout), np.abs(x, dtype=np.float64)
        scales = buckets.largest(magnitudes)
        widths = self._widths(scales, buckets, float(magnitudes @ magnitudes))
        levels = draw(magnitudes, _steps(scales, widths), buckets, at.key.fold(self.name))
        head = pack(widths, 4) + rounded_up(scales[widths > 0]).tobytes()
        return head + pack_planes(levels, x < 0, _levels(widths), buckets)

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        reader, buckets = Reader(body), Buckets.of(at.layout)
        widths = unpack(reader, 4, buckets.count).astype(np.int64)
        scales = np.zeros(buckets.count)
        scales[widths > 0] = read_scales(reader, int(np.count_nonzero(widths)))
        levels, negative = unpack_planes(reader, _levels(widths), buckets)
        reader.end()
        return bounded(signed(levels, negative, _steps(scales, widths), buckets))

    def _widths(self, scales: Float64[np.ndarray, " t"], buckets: Buckets, square: float) -> Int64[np.ndarray, " t"]:
        """w_t: the decreases of the variance in descending order, and as many of them as the option asks for."""
        variances = buckets.sizes[:, None] * scales[:, None] ** 2 / (4 * _MOST.astype(np.float64) ** 2)
        decreases = variances[:, :-1] - variances[:, 1:]
        order = np.argsort(-decreases / buckets.sizes[:, None], axis=None, kind="stable")
        tensors = order // (_WIDEST - 1)
        if self.nmse is None:
            return _spend(tensors, buckets, scales > 0, self._budget(buckets))
        left = variances[:, -1].sum() + np.cumsum(decreases.reshape(-1)[order][::-1])[::-1]
        taken = tensors[: np.count_nonzero(left > self.nmse * square)]
        return (scales > 0) * (1 + np.bincount(taken, minlength=buckets.count))

    def _budget(self, buckets: Buckets) -> int:
        """Bytes of the body."""
        return int((_BITS if self.bits is None else self.bits) * int(buckets.sizes.sum()) / 8)

    def largest(self, layout: Layout) -> int:
        buckets = Buckets.of(layout)
        head = packed_length(4, buckets.count) + 4 * buckets.count
        if self.nmse is None:
            return max(self._budget(buckets), head + planes_length(1, layout.size))
        return head + planes_length(2**_WIDEST - 1, layout.size) + _GROUPS

    def distortion(self, layout: Layout) -> Distortion:
        size = Buckets.of(layout).longest
        coarsest = omega(1, size)
        if self.nmse is None:
            return Unbiased(coarsest)
        return Unbiased(min(coarsest, max(self.nmse, size / (4 * (2**_WIDEST - 1) ** 2))))


def _levels(widths: Int64[np.ndarray, " t"]) -> Int64[np.ndarray, " t"]:
    return np.asarray((1 << widths) - 1)


def _steps(scales: Float64[np.ndarray, " t"], widths: Int64[np.ndarray, " t"]) -> Float64[np.ndarray, " t"]:
    return np.asarray(scales / np.maximum(_levels(widths), 1))


def _spend(
    tensors: Int64[np.ndarray, " k"], buckets: Buckets, used: np.ndarray, budget: int
) -> Int64[np.ndarray, " t"]:
    """One bit for each tensor in use, and then one for each of ``tensors`` in turn whose next bit still fits."""
    sizes, widths = buckets.sizes.tolist(), used.astype(int).tolist()
    members = [0] * (_WIDEST + 1)  # coordinates of each width: planes are filled up to bytes for each by itself
    members[1] = int(buckets.sizes[used].sum())
    left = budget - packed_length(4, buckets.count) - 4 * int(np.count_nonzero(used)) - 2 * packed_length(1, members[1])
    full = [not one for one in used.tolist()]
    for tensor in tensors.tolist():
        if full[tensor]:
            continue
        size, bits = sizes[tensor], widths[tensor]
        rest, joined = members[bits] - size, members[bits + 1] + size
        cost = packed_length(bits, rest) - packed_length(bits, members[bits])
        cost += packed_length(bits + 1, joined) - packed_length(bits + 1, members[bits + 1])
        if cost > left:
            full[tensor] = True
            continue
        members[bits], members[bits + 1], widths[tensor], left = rest, joined, bits + 1, left - cost
    return np.array(widths)
