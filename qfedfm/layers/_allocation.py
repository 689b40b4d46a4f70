"""How coarsely each tensor is quantised, and in which way: the plan of `ecdq`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from qfedfm.core.layout import Layout
from qfedfm.layers import _gaussian

OCTAVES = 32
"""The spread of a tensor is told to the nearest power of two, from 2⁻³² to 2³¹ steps."""
TURNED, ZERO = 2 * OCTAVES, 255
"""Added to the code of a group that is rotated; the code of tensors that are zero."""
_SAMPLE, _GROUP = 2**14, 1024
_TABLE = 250
"""Bits of a group's table and head, about."""
_ROTATED = 512
"""A tensor that is smaller is never rotated."""
_GRID = 2.0 ** np.arange(-14, 6.01, 0.25)


def steps(octaves: Int64[np.ndarray, "*t"] | int) -> Float64[np.ndarray, "*t"]:
    """Steps in units of the common step Δ, for spreads σ = 2^octave in the same unit.

    The step Δ' with D(1 + D/σ²) = Δ²/12 for D = Δ'²/12: what an unbiased quantiser of rate R and error σ²/(4^R − 1)
    has where all tensors gain as much from another bit. Much larger spreads take Δ itself.
    """
    variance = 4.0 ** np.asarray(octaves, np.float64)
    error = 1 / (6 * (1 + np.sqrt(1 + 1 / (3 * variance))))
    return np.asarray(np.sqrt(12 * error))


def _octaves(relative: Float64[np.ndarray, "*t"]) -> Int64[np.ndarray, "*t"]:
    return np.asarray(np.clip(np.rint(np.log2(relative)), -OCTAVES, OCTAVES - 1), np.int64)


@dataclass(frozen=True)
class Tensors:
    """The tensors of an update, scaled by a power of two so that the largest coordinate is near one.

    Args:
        layout: where they lie.
        x: the scaled update.
    """

    layout: Layout
    x: Float32[np.ndarray, " d"]

    @cached_property
    def starts(self) -> Int64[np.ndarray, " t"]:
        """Where each begins."""
        return np.array([entry.start for entry in self.layout])

    @cached_property
    def sizes(self) -> Int64[np.ndarray, " t"]:
        """How many coordinates each has."""
        return np.diff(self.starts, append=self.x.size)

    @cached_property
    def squares(self) -> Float64[np.ndarray, " t"]:
        """The squared length of each."""
        return np.asarray(np.add.reduceat(np.square(self.x, dtype=np.float64), self.starts))

    @cached_property
    def spreads(self) -> Float64[np.ndarray, " t"]:
        """The root mean square of each."""
        return np.asarray(np.sqrt(self.squares / self.sizes))

    @cached_property
    def sample(self) -> tuple[Float32[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
        """Some coordinates, and the tensor of each."""
        stride = -(-self.x.size // _SAMPLE)
        owner = np.repeat(np.arange(len(self.sizes)), self.sizes)
        return self.x[::stride], owner[::stride]

    def rates(self, wide: Float64[np.ndarray, " t"]) -> Float64[np.ndarray, " t"]:
        """Bits a coordinate of each tensor as it is, dithered with these steps: entropies of a sample, after Miller."""
        values, owner = self.sample
        inverse = np.divide(1, wide, out=np.zeros_like(wide), where=wide > 0).astype(np.float32)
        noise = np.modf(np.arange(values.size) * 0.6180339887498949)[0].astype(np.float32) - np.float32(0.5)
        q = np.rint(values * inverse[owner] + noise)
        most = min(2.0**11, 2.0 ** np.ceil(np.log2(np.abs(q).max() + 1)))
        width = 2 * int(most) + 1
        symbols = np.clip(q, -most, most).astype(np.int64) + int(most) + width * owner
        counts = np.bincount(symbols, minlength=width * len(wide)).reshape(len(wide), width)
        total = np.maximum(counts.sum(axis=1), 1)
        p = counts / total[:, None]
        entropy = -(p * np.log2(p, out=np.zeros_like(p), where=p > 0)).sum(axis=1)
        return np.asarray(entropy + (np.count_nonzero(counts, axis=1) - 1).clip(0) / (2 * np.log(2) * total))


@dataclass(frozen=True)
class Plan:
    """A common step, and for each tensor whether it is rotated.

    Args:
        tensors: what is quantised.
        step: Δ.
        rotated: a flag for each tensor.
    """

    tensors: Tensors
    step: float
    rotated: Bool[np.ndarray, " t"]

    @cached_property
    def octaves(self) -> Int64[np.ndarray, " t"]:
        """log₂ of each tensor's spread in steps, rounded."""
        spreads = np.maximum(self.tensors.spreads, 1e-300) / self.step
        return _octaves(spreads)

    @cached_property
    def wide(self) -> Float64[np.ndarray, " t"]:
        """The step of each tensor."""
        return np.asarray(self.step * steps(self.octaves))

    @cached_property
    def codes(self) -> Int64[np.ndarray, " t"]:
        """The group of each tensor: its octave, and whether it is rotated; `ZERO` for one that is nothing but zeros."""
        found = self.octaves + OCTAVES + np.where(self.rotated, TURNED, 0)
        return np.asarray(np.where(self.tensors.squares > 0, found, ZERO))

    def settled(self) -> Plan:
        """The same, but for rotated groups too small to be worth it, which go as they are; the step as it travels."""
        plan = replace(self, step=float(np.float32(self.step)))
        sizes = np.bincount(plan.codes, plan.tensors.sizes, ZERO + 1)
        rotated = plan.rotated & (sizes[plan.codes] >= _GROUP)
        return plan if (rotated == plan.rotated).all() else replace(plan, rotated=rotated)

    @property
    def relative(self) -> Float64[np.ndarray, " t"]:
        """The same in spreads of the tensor."""
        return np.asarray(self.wide / np.maximum(self.tensors.spreads, 1e-300))

    @cached_property
    def errors(self) -> Float64[np.ndarray, " t"]:
        """The expected squared error of each tensor."""
        plain = self.tensors.sizes * self.wide**2 / 12
        turned = self.tensors.squares * _gaussian.distortion(self.relative)
        return np.asarray(np.where(self.tensors.squares > 0, np.where(self.rotated, turned, plain), 0.0))


def cheapest(tensors: Tensors, step: float) -> tuple[Plan, float]:
    """The plan with the cheaper way for each tensor, that with less error + (ln 2/6) Δ² · bits; and its bits."""
    plain = Plan(tensors, step, np.zeros(len(tensors.sizes), bool))
    turned = replace(plain, rotated=~plain.rotated)
    sent, of_gaussian = tensors.rates(plain.wide), _gaussian.rate(plain.relative)
    price = np.log(2) / 6 * step**2 * tensors.sizes
    rotated = (turned.errors + price * of_gaussian < plain.errors + price * sent) & (tensors.sizes >= _ROTATED)
    plan = replace(plain, rotated=rotated)
    bits = np.where(rotated, of_gaussian, sent) * tensors.sizes
    groups = len(np.unique(plan.codes))
    return plan, float(bits[tensors.squares > 0].sum()) + _TABLE * groups


def gaussian_step(tensors: Tensors, bits: float) -> tuple[float, float]:
    """The step at which Gaussian tensors of these spreads take so many bits in all, and what an octave more saves."""
    spreads, sizes = tensors.spreads[tensors.squares > 0], tensors.sizes[tensors.squares > 0]
    candidates = _GRID * float(spreads.max())
    octaves = _octaves(spreads / candidates[:, None])
    relative = candidates[:, None] * steps(octaves) / spreads
    totals = _gaussian.rate(relative) @ sizes
    step = 2 ** np.interp(-bits, -totals, np.log2(candidates))
    place = int(np.clip(np.searchsorted(-totals, -bits), 2, len(totals) - 2))
    slope = (totals[place - 2] - totals[place + 1]) / (3 * 0.25)
    return float(step), max(float(slope), 0.05 * float(sizes.sum()))


def for_error(tensors: Tensors, error: float) -> Plan:
    """The plan whose expected squared error is this."""
    step = float(np.sqrt(12 * error / tensors.x.size))
    for _ in range(2):
        plan, _ = cheapest(tensors, step)
        low, high = step / 64, step * 64
        while high > low * 1.002:
            middle = float(np.sqrt(low * high))
            low, high = (middle, high) if replace(plan, step=middle).errors.sum() < error else (low, middle)
        step = low
    return replace(plan, step=step)


def for_bits(tensors: Tensors, bits: float) -> tuple[Plan, float]:
    """A plan of about so many bits, and bits that another octave of the step saves."""
    step, slope = gaussian_step(tensors, bits)
    for _ in range(2):
        plan, found = cheapest(tensors, step)
        step = plan.step * 2.0 ** float(np.clip((found - bits) / slope, -3, 3))
    return replace(plan, step=step), slope
