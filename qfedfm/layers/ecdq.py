"""The library's own codec: dithered or rotated, uniformly quantised, entropy-coded; a budget is its only knob."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Annotated, final

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from qfedfm.core.body import Reader
from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Unbiased
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers._allocation import WIDEST, Plan, Tensors, for_bits, for_error
from qfedfm.layers._feedback import bounded
from qfedfm.layers._integers import largest as largest_stream
from qfedfm.layers._packing import packed_length
from qfedfm.layers._streams import Message, fill

_HEAD = struct.Struct("<fhB")
_BITS, _MARGIN = 2.0, 0.98
_NEAR, _LEFT, _PASSES = 0.995, -0.012, 8
_ROUNDED = 1.0003
"""What rounded frequencies cost, at most."""


@part("ecdq", paper="Zamir & Feder, IEEE Trans. Inf. Theory 38, 428 (1992); Vargaftik et al., ICML 2022")
@final
@dataclass(frozen=True)
class Ecdq(Codec):
    """Entropy-coded dithered quantisation, or rotation with centroids where that is cheaper, at a budget of bytes.

    A tensor with step Δ is sent in one of two ways, whichever has the smaller error + (ln 2/6) Δ² · bits by the
    measured entropy:

    - *as it is*: q = round(x/Δ + u), x̂ = Δ (q − au), with a dither u uniform on [−½, ½) that both sides draw from the
      key, and a = 6V for the mean variance V of q. Unbiased for every a, with the error Δ² V(1 − 3V): at fine steps all
      of u is subtracted and Δ²/12 is left, at coarse ones a is near 0 and zeros stay without error. For heavy tails.
    - *rotated*: y = H D x over all such tensors of similar spread σ, q = round(y/Δ), ŷ = S c(q) with the cells' means
      c of a Gaussian of spread σ, and S = ‖y‖²/⟨y, c⟩, which makes x̂ = (H D)ᵀ ŷ unbiased over the rotation as in EDEN.

    All q are written by an ANS coder in about their entropy, those of tensors of similar spread with one table. One Δ
    is common to all tensors; a tensor whose spread is near or below it takes a smaller one (`_allocation.steps`), so
    that every tensor gains as much from another bit. Δ is the one that meets the knob:

    Args:
        bits: bits a coordinate, everything included. Tables alone take some hundred bits, so that small layouts may
            need more: the squared error never exceeds 3/(4^bits − 1) ‖x‖², thrice the limit for an unbiased code of
            Gaussian numbers.
            2 where neither is given.
        nmse: the expected squared error over ‖x‖², instead of ``bits``.

    Raises:
        ConfigError: both knobs, or one out of range.
        PayloadError: a value is NaN or infinite, or the length differs.

    Differs from the papers: scalar instead of lattice quantisers; the rotation is by random signs and two overlapping
    Hadamard matrices, so that unbiasedness over it is approximate, and tensors of less than 512 coordinates are never
    rotated.

    Example:
        >>> import qfedfm as qf
        >>> layout = qf.Layout.of({"w": (64, 64)})
        >>> at = At(0, 1, 0, qf.Key.of(0), layout, 1)
        >>> x = qf.Key.of(1).numpy().standard_normal(4096).astype("f4")
        >>> len(qf.layers.Ecdq(bits=2.0).encode(x, at)) <= 2 * 4096 / 8
        True
    """

    bits: Annotated[float, Field(ge=0.01, le=12)] | None = None
    nmse: Annotated[float, Field(ge=1e-6, le=10)] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.bits is not None and self.nmse is not None:
            raise ConfigError(f"bits = {self.bits} and nmse = {self.nmse}", "one of the two")

    @property
    def _worst(self) -> float:
        return self.nmse or 3 / (4 ** (self.bits or 2.0) - 1)

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        exponent = int(np.frexp(np.abs(x).max())[1])
        tensors = Tensors(at.layout, np.ldexp(x, -exponent))
        if not tensors.squares.any():
            return _HEAD.pack(0.0, 0, 0)
        if self.nmse is not None:
            plan = for_error(tensors, _MARGIN * self.nmse * float(tensors.squares.sum()))
            return Message(self._within(plan), at).body(exponent)
        return self._fitting(tensors, at).body(exponent)

    def _within(self, plan: Plan) -> Plan:
        """The plan, or where its error would be too large one of a smaller step."""
        worst = self.distortion(plan.tensors.layout).omega * float(plan.tensors.squares.sum())
        plan = plan.settled()
        if plan.errors.sum() > worst:
            plan = for_error(plan.tensors, _MARGIN * worst).settled()
        while plan.errors.sum() > worst:
            plan = replace(plan, step=0.9 * plan.step).settled()
        return plan

    def _fitting(self, tensors: Tensors, at: At) -> Message:
        """The longest message within the budget that is found, unless its error would be too large."""
        allowed = (self.bits or _BITS) * tensors.x.size
        plan, slope = for_bits(tensors, _NEAR * allowed - 8 * _HEAD.size)
        low, high, best = -np.inf, np.inf, None
        for _ in range(_PASSES):
            message = Message(self._within(plan), at)
            over, place = _ROUNDED * message.bits - allowed, float(np.log2(plan.step))
            if message.plan.step < 0.99 * plan.step:
                return message
            if over <= 0 and (best is None or message.bits > best.bits):
                best = message
            if _LEFT * allowed <= over <= 0:
                break
            low, high = (max(low, place), high) if over > 0 else (low, min(high, place))
            wanted = place + float(np.clip((over + (1 - _NEAR) * allowed) / slope, -2, 2))
            inside = low < wanted < high
            plan = replace(plan, step=2.0 ** (wanted if inside else (low + high) / 2))
        return message if best is None else best

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        reader = Reader(body)
        step, exponent, groups = _HEAD.unpack(reader.take(_HEAD.size))
        x = np.zeros(at.layout.size, np.float32)
        if not (0 <= step <= WIDEST and -160 <= exponent <= 160 and (step > 0) == (groups > 0)):
            raise PayloadError(
                f"a step of {step} · 2^{exponent} for {groups} groups", "a positive step and some groups"
            )
        if groups:
            fill(x, reader, step, groups, at)
        reader.end()
        with np.errstate(over="ignore"):
            return bounded(np.ldexp(x, exponent))

    def largest(self, layout: Layout) -> int:
        tensors = len(layout.entries)
        most = min(tensors, 255)
        return _HEAD.size + 9 * most + packed_length(8, tensors) + most * largest_stream(0) + 8 * layout.size

    def distortion(self, layout: Layout) -> Unbiased:
        return Unbiased(self.nmse or 3 / (4 ** (self.bits or _BITS) - 1))
