"""How coarsely each tensor is quantised, and in which way: the plan of `ecdq`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from qfedfm.core.layout import Layout
from qfedfm.layers import _gaussian

TURNED, ZERO = 64, 255
"""Added to the code of a group that is rotated; the code of tensors that are zero."""
WIDEST = 2.0**30
"""The largest common step, where the largest coordinate is about one."""
_SAMPLE, _GROUP, _HALVINGS = 2**13, 1024, 24
_TABLE, _TINY = 250, 2.0**-80
"""Bits of a group's table and head, about."""
_ROTATED = 512
"""A tensor that is smaller is never rotated."""
_GRID = 2.0 ** np.arange(-14, 6.01, 0.25)


def steps(spreads: Float64[np.ndarray, "*t"]) -> Float64[np.ndarray, "*t"]:
    """Steps in units of the common step Δ, for spreads σ in the same unit.

    The step Δ' with D(1 + D/σ²) = Δ²/12 for D = Δ'²/12: what an unbiased quantiser of rate R and error σ²/(4^R − 1)
    has where all tensors gain as much from another bit. Much larger spreads take Δ itself.
    """
    error = 1 / (6 * (1 + np.sqrt(1 + 1 / (3 * np.asarray(spreads, np.float64) ** 2))))
    return np.asarray(np.sqrt(12 * error))


def own_steps(step: float, spreads: Float64[np.ndarray, "*t"]) -> Float64[np.ndarray, "*t"]:
    """The step Δ' of each spread beside the common one; spreads below 2⁻⁸⁰ take that of 2⁻⁸⁰."""
    return np.asarray(step * steps(np.asarray(np.maximum(spreads, _TINY) / step)))


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
    def octaves(self) -> Int64[np.ndarray, " t"]:
        """How many powers of two each spread is below one, rounded: tensors with the same one are a group."""
        below = -np.log2(np.maximum(self.spreads, 2.0**-TURNED))
        return np.asarray(np.clip(np.rint(below), 0, TURNED - 1), np.int64)

    @cached_property
    def sample(self) -> tuple[Float32[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
        """Some coordinates, and the tensor of each."""
        stride = -(-self.x.size // _SAMPLE)
        owner = np.repeat(np.arange(len(self.sizes)), self.sizes)
        return self.x[::stride], owner[::stride]

    def dithered(self, wide: Float64[np.ndarray, " t"]) -> tuple[Float64[np.ndarray, " t"], Float64[np.ndarray, " t"]]:
        """Of each tensor as it is with these steps: bits a coordinate and V, the mean variance of q, from a sample.

        Entropies are corrected after Miller; V is the mean of f(1 − f), f the fraction of a coordinate in steps.
        """
        values, owner = self.sample
        inverse = np.divide(1, wide, out=np.zeros_like(wide), where=wide > 0).astype(np.float32)
        noise = np.modf(np.arange(values.size) * 0.6180339887498949)[0].astype(np.float32)
        scaled = values * inverse[owner]
        low = np.floor(scaled)
        fraction = scaled - low
        q = low + (noise < fraction)
        most = min(2.0**11, 2.0 ** np.ceil(np.log2(np.abs(q).max() + 1)))
        width = 2 * int(most) + 1
        symbols = np.clip(q, -most, most).astype(np.int64) + int(most) + width * owner
        counts = np.bincount(symbols, minlength=width * len(wide)).reshape(len(wide), width)
        total = np.maximum(counts.sum(axis=1), 1)
        p = counts / total[:, None]
        entropy = -(p * np.log2(p, out=np.zeros_like(p), where=p > 0)).sum(axis=1)
        bits = entropy + (np.count_nonzero(counts, axis=1) - 1).clip(0) / (2 * np.log(2) * total)
        return bits, np.bincount(owner, fraction * (1 - fraction), len(wide)) / total


def left(variance: Float64[np.ndarray, "*t"]) -> Float64[np.ndarray, "*t"]:
    """The error V(1 − 3V) of q − 6Vu in squared steps, with a dither u of which 6V is subtracted.

    q − au has the variance V + a²/12 − aV, since Cov(q, u) = V/2; a = 6V makes it least. At V = 1/6, where fractions
    are evenly spread, all of u is subtracted, and 1/12 is left.
    """
    return np.asarray(variance * (1 - 3 * variance))


@dataclass(frozen=True)
class Plan:
    """A common step, and for each tensor whether it is rotated.

    Args:
        tensors: what is quantised.
        step: Δ.
        rotated: a flag for each tensor.
        variances: V of each tensor as it is; see `left`.
    """

    tensors: Tensors
    step: float
    rotated: Bool[np.ndarray, " t"]
    variances: Float64[np.ndarray, " t"]

    @cached_property
    def codes(self) -> Int64[np.ndarray, " t"]:
        """The group of each tensor: its octave, and whether it is rotated; `ZERO` for one that is nothing but zeros."""
        found = self.tensors.octaves + np.where(self.rotated, TURNED, 0)
        return np.asarray(np.where(self.tensors.squares > 0, found, ZERO))

    @cached_property
    def spreads(self) -> Float64[np.ndarray, " t"]:
        """The root mean square of each tensor's group, as it travels."""
        sizes = np.bincount(self.codes, self.tensors.sizes, ZERO + 1)
        squares = np.bincount(self.codes, self.tensors.squares, ZERO + 1)
        found = np.sqrt(squares / np.maximum(sizes, 1)).astype(np.float32)
        return np.asarray(found[self.codes], np.float64)

    @cached_property
    def wide(self) -> Float64[np.ndarray, " t"]:
        """The step of each tensor."""
        return own_steps(self.step, self.spreads)

    def settled(self) -> Plan:
        """The same, but for rotated groups too small to be worth it, which go as they are; the step as it travels."""
        plan = replace(self, step=float(np.float32(min(self.step, WIDEST))))
        sizes = np.bincount(plan.codes, plan.tensors.sizes, ZERO + 1)
        rotated = plan.rotated & (sizes[plan.codes] >= _GROUP)
        return plan if (rotated == plan.rotated).all() else replace(plan, rotated=rotated)

    @cached_property
    def errors(self) -> Float64[np.ndarray, " t"]:
        """The expected squared error of each tensor."""
        plain = self.tensors.sizes * self.wide**2 * left(self.variances)
        turned = self.tensors.squares * _gaussian.distortion(self.wide / np.maximum(self.spreads, _TINY))
        return np.asarray(np.where(self.tensors.squares > 0, np.where(self.rotated, turned, plain), 0.0))


def cheapest(tensors: Tensors, step: float, everything: bool | None = None) -> tuple[Plan, float]:
    """A plan, and its bits.

    Args:
        tensors: what is quantised.
        step: Δ.
        everything: whether all tensors are rotated, or none; None takes for each the way with less
            error + (ln 2/6) Δ² · bits.
    """
    spreads = np.maximum(tensors.spreads, _TINY)
    wide = own_steps(step, spreads)
    (sent, variances), of_gaussian = tensors.dithered(wide), _gaussian.rate(wide / spreads)
    price = np.log(2) / 6 * step**2
    plain = wide**2 * left(variances) + price * sent
    turned = spreads**2 * _gaussian.distortion(wide / spreads) + price * of_gaussian
    wanted = turned < plain if everything is None else np.full(len(spreads), everything)
    plan = Plan(tensors, step, wanted & (tensors.sizes >= _ROTATED), variances)
    bits = np.where(plan.rotated, of_gaussian, sent) * tensors.sizes
    return plan, float(bits[tensors.squares > 0].sum()) + _TABLE * len(np.unique(plan.codes))


def gaussian_step(tensors: Tensors, bits: float) -> tuple[float, float]:
    """The step at which Gaussian tensors of these spreads take so many bits in all, and what an octave more saves."""
    spreads, sizes = tensors.spreads[tensors.squares > 0], tensors.sizes[tensors.squares > 0]
    candidates = _GRID * float(spreads.max())
    relative = candidates[:, None] / spreads
    totals = _gaussian.rate(relative * steps(1 / relative)) @ sizes
    step = 2 ** np.interp(-bits, -totals, np.log2(candidates))
    place = int(np.clip(np.searchsorted(-totals, -bits), 2, len(totals) - 2))
    slope = (totals[place - 2] - totals[place + 1]) / (3 * 0.25)
    return float(step), max(float(slope), 0.02 * float(sizes.sum()))


def for_error(tensors: Tensors, error: float) -> Plan:
    """The plan whose expected squared error is this, in the way that takes the fewest bits."""
    found = []
    for everything in _ways(tensors):
        low, high = -40.0, 12.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            enough = cheapest(tensors, 2.0**middle, everything)[0].errors.sum() < error
            low, high = (middle, high) if enough else (low, middle)
        found.append(cheapest(tensors, 2.0**low, everything))
    return min(found, key=lambda one: one[1])[0]


def for_bits(tensors: Tensors, bits: float) -> tuple[Plan, float]:
    """A plan of about so many bits, in the way with the least error, and bits that another octave of the step saves."""
    first, slope = gaussian_step(tensors, bits)

    def corrected(step: float, length: float) -> float:
        return float(step * 2.0 ** np.clip((length - bits) / slope, -3, 3))

    found = []
    for everything in _ways(tensors):
        plan, length = cheapest(tensors, first, everything)
        plan, length = cheapest(tensors, corrected(first, length), everything)
        price = 2 * np.log(2) * float(plan.errors.sum()) / tensors.x.size
        found.append((float(plan.errors.sum()) + price * (length - bits), plan, length))
    _, plan, length = min(found, key=lambda one: one[0])
    return replace(plan, step=corrected(plan.step, length)), slope


def _ways(tensors: Tensors) -> tuple[bool | None, ...]:
    """One way for all tensors or the other, and where there are several also the cheaper for each."""
    if tensors.sizes.max() < _ROTATED:
        return (False,)
    return (False, True) if len(tensors.sizes) == 1 else (False, True, None)
