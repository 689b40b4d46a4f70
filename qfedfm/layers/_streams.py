"""The body of `ecdq`: groups of tensors, each a stream of whole numbers.

| bytes | field |
|---|---|
| 4, 2, 1 | Δ as float32, the power of two that it is multiplied by, G groups |
| G | 1 for a group that is rotated, else 0 |
| | for each tensor its group from 1 on, 0 for zeros, in as few bits as that takes |
| 4, 4 | of each group: its root mean square σ, and S of a rotated one or the share of the dither that is subtracted |
| | of each group: the numbers q (`Integers`) |
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int32

from qfedfm.core.body import Reader
from qfedfm.core.errors import PayloadError
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At
from qfedfm.layers import _gaussian, _integers
from qfedfm.layers._allocation import TURNED, ZERO, Plan, own_steps
from qfedfm.layers._hadamard import Mixing
from qfedfm.layers._integers import Integers
from qfedfm.layers._packing import pack, unpack

_HEAD = struct.Struct("<fhB")
_SCALES = struct.Struct("<ff")
_SOME = 2**13
"""Coordinates of a group from which V is taken, about."""


def _width(groups: int) -> int:
    return groups.bit_length()


def _dither(key: Key, size: int) -> Float32[np.ndarray, " d"]:
    return key.fold("ecdq", "dither").numpy().random(size, np.float32) - np.float32(0.5)


def _mixing(key: Key, size: int, number: int) -> Mixing:
    return Mixing(size, key.fold("ecdq", "rotation", number))


def _cells(q: Int32[np.ndarray, " n"], step: float, spread: float) -> Float32[np.ndarray, " n"]:
    """The mean of each number's cell, for a Gaussian of that spread."""
    top = int(np.abs(q).max(initial=0))
    inner = _gaussian.means(step / spread)[: top + 1] * spread
    positive = np.concatenate([inner, np.arange(len(inner), top + 1) * step])
    table = np.concatenate([-positive[:0:-1], positive]).astype(np.float32)
    return np.asarray(table[q + top])


@dataclass(frozen=True)
class _Stream:
    members: list[int]
    turned: bool
    scales: bytes
    integers: Integers

    @property
    def bits(self) -> float:
        return 8 * len(self.scales) + self.integers.bits


def _gather(x: np.ndarray, layout: Layout, members: Sequence[int]) -> np.ndarray:
    if len(members) == len(layout.entries):
        return x
    entries = [layout.entries[member] for member in members]
    return np.concatenate([x[entry.start : entry.stop] for entry in entries])


def _plain(x: Float32[np.ndarray, " n"], dither: Float32[np.ndarray, " n"], step: float) -> tuple[Integers, float]:
    """The dithered numbers, and 6V of some of them: a share that depends on x alone, so that the mean stays right."""
    scaled = x * np.float32(1 / step)
    some = scaled[:: max(1, x.size // _SOME)]
    fraction = some - np.floor(some)
    variance = float(np.mean(fraction * (1 - fraction)))
    return Integers(np.rint(scaled + dither).astype(np.int32)), 6 * variance


def _turned(x: Float32[np.ndarray, " n"], mixing: Mixing, step: float, spread: float) -> tuple[Integers, float] | None:
    """The rotated numbers and S; None where no scale would make them unbiased."""
    y = mixing.forward(x)
    q = np.rint(y * np.float32(1 / step)).astype(np.int32)
    against = float(y @ _cells(q, step, spread))
    return None if against <= 0 else (Integers(q), float(y @ y) / against)


@dataclass(frozen=True)
class Message:
    """An update quantised to a plan.

    Args:
        plan: steps and ways.
        at: where the sender is.
    """

    plan: Plan
    at: At
    _streams: list[_Stream] = field(default_factory=list)

    def __post_init__(self) -> None:
        tensors, codes, key, layout = self.plan.tensors, self.plan.codes, self.at.key, self.at.layout
        dither = None
        for number, code in enumerate(np.unique(codes[codes != ZERO]).tolist()):
            members = np.flatnonzero(codes == code).tolist()
            step, spread = float(self.plan.wide[members[0]]), float(self.plan.spreads[members[0]])
            x = _gather(tensors.x, layout, members)
            turned = _turned(x, _mixing(key, x.size, number), step, spread) if code >= TURNED else None
            if turned is not None:
                self._streams.append(_Stream(members, True, _SCALES.pack(spread, turned[1]), turned[0]))
                continue
            dither = _dither(key, tensors.x.size) if dither is None else dither
            numbers, share = _plain(x, _gather(dither, layout, members), step)
            self._streams.append(_Stream(members, False, _SCALES.pack(spread, share), numbers))

    @property
    def bits(self) -> float:
        """About how long the body is."""
        count = len(self._streams)
        ways = 8 * (_HEAD.size + count) + _width(count) * (len(self.plan.codes) + 7)
        return ways + sum(stream.bits for stream in self._streams)

    def body(self, exponent: int) -> bytes:
        """The body, for an update that was divided by 2^exponent."""
        count = len(self._streams)
        groups = np.zeros(len(self.plan.codes), np.int64)
        for number, stream in enumerate(self._streams, 1):
            groups[stream.members] = number
        ways = bytes(stream.turned for stream in self._streams)
        parts = [_HEAD.pack(self.plan.step, exponent, count), ways, pack(groups, _width(count))]
        for stream in self._streams:
            parts += [stream.scales, stream.integers.encode()]
        return b"".join(parts)


def fill(x: Float32[np.ndarray, " d"], reader: Reader, step: float, groups: int, at: At) -> None:
    """Writes what the rest of a body says into a vector of zeros.

    Raises:
        PayloadError: the body is not one that `Message.body` writes.
    """
    layout = at.layout
    ways = list(reader.take(groups))
    owner = unpack(reader, _width(groups), len(layout.entries))
    if max(ways) > 1 or set(owner.tolist()) - {0} != set(range(1, groups + 1)):
        raise PayloadError("groups that do not exist, or without tensors, or sent in no known way", f"1 to {groups}")
    dither = x if all(ways) else _dither(at.key, layout.size)
    for number, turned in enumerate(ways):
        members = np.flatnonzero(owner == number + 1).tolist()
        size = sum(layout.entries[member].stop - layout.entries[member].start for member in members)
        mixing = _mixing(at.key, size, number) if turned else None
        y = _values(reader, step, mixing, _gather(dither, layout, members))
        for member in members:
            entry = layout.entries[member]
            x[entry.start : entry.stop], y = y[: entry.stop - entry.start], y[entry.stop - entry.start :]


def _values(
    reader: Reader, step: float, mixing: Mixing | None, dither: Float32[np.ndarray, " n"]
) -> Float32[np.ndarray, " n"]:
    spread, scale = _SCALES.unpack(reader.take(_SCALES.size))
    if not (0 <= spread < 2.0**20 and 0 <= scale < 2.0**30):
        raise PayloadError(f"a group of spread {spread} and scale {scale}", "numbers that fit")
    wide = float(own_steps(step, np.array(spread, np.float64)))
    if mixing is None:
        q = _integers.decode(reader, dither.size)
        return np.asarray((q - dither * np.float32(scale)) * np.float32(wide), np.float32)
    if not 2.0**-12 * spread < wide < 2.0**8 * spread:
        raise PayloadError(f"a rotated group of spread {spread} and step {wide}", "numbers that fit")
    q = _integers.decode(reader, dither.size)
    return mixing.backward(_cells(q, wide, spread) * np.float32(scale))
