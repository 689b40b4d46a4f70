"""The body of `ecdq`: groups of tensors, each a stream of whole numbers.

| bytes | field |
|---|---|
| 4, 2, 1 | Δ as float32, the power of two that it is multiplied by, G groups |
| G | code of each group: octave of its spread in steps, and 64 more where it is rotated |
| | for each tensor its group from 1 on, 0 for zeros, in as few bits as that takes |
| 8 | of a rotated group: σ and S as float32 |
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
from qfedfm.layers._allocation import OCTAVES, TURNED, ZERO, Plan, steps
from qfedfm.layers._hadamard import Mixing
from qfedfm.layers._integers import Integers
from qfedfm.layers._packing import pack, unpack

_HEAD = struct.Struct("<fhB")
_SCALES = struct.Struct("<ff")


def _width(groups: int) -> int:
    return groups.bit_length()


def _dither(key: Key, size: int) -> Float32[np.ndarray, " d"]:
    return key.fold("ecdq", "dither").numpy().random(size, np.float32) - np.float32(0.5)


def _mixing(key: Key, size: int, code: int) -> Mixing:
    return Mixing(size, key.fold("ecdq", "rotation", code))


def _cells(q: Int32[np.ndarray, " n"], step: float, spread: float) -> Float32[np.ndarray, " n"]:
    """The mean of each number's cell, for a Gaussian of that spread."""
    top = int(np.abs(q).max(initial=0))
    inner = _gaussian.means(step / spread)[: top + 1] * spread
    positive = np.concatenate([inner, np.arange(len(inner), top + 1) * step])
    table = np.concatenate([-positive[:0:-1], positive]).astype(np.float32)
    return np.asarray(table[q + top])


@dataclass(frozen=True)
class _Stream:
    scales: bytes
    integers: Integers

    @property
    def bits(self) -> float:
        return 8 * len(self.scales) + self.integers.bits


def _gather(x: np.ndarray, layout: Layout, members: Sequence[int]) -> np.ndarray:
    entries = [layout.entries[member] for member in members]
    return np.concatenate([x[entry.start : entry.stop] for entry in entries])


def _plain(x: Float32[np.ndarray, " n"], dither: Float32[np.ndarray, " n"], step: float) -> _Stream:
    return _Stream(b"", Integers(np.rint(x * np.float32(1 / step) + dither).astype(np.int32)))


def _turned(x: Float32[np.ndarray, " n"], mixing: Mixing, step: float) -> _Stream | None:
    """None where no scale would make it unbiased."""
    y = mixing.forward(x)
    q = np.rint(y * np.float32(1 / step)).astype(np.int32)
    square = float(y @ y)
    spread = float(np.float32(np.sqrt(square / y.size)))
    against = float(y @ _cells(q, step, spread))
    if against <= 0:
        return None
    return _Stream(_SCALES.pack(spread, square / against), Integers(q))


@dataclass(frozen=True)
class Message:
    """An update quantised to a plan.

    Args:
        plan: steps and ways.
        at: where the sender is.
    """

    plan: Plan
    at: At
    _streams: dict[int, tuple[list[int], _Stream]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tensors, codes = self.plan.tensors, self.plan.codes
        dither = None
        for code in np.unique(codes).tolist():
            if code == ZERO:
                continue
            members = np.flatnonzero(codes == code).tolist()
            values, step = _gather(tensors.x, self.at.layout, members), float(self.plan.wide[members[0]])
            stream = _turned(values, _mixing(self.at.key, values.size, code), step) if code >= TURNED else None
            if stream is not None:
                self._streams[code] = (members, stream)
                continue
            dither = _dither(self.at.key, tensors.x.size) if dither is None else dither
            plain = _plain(values, _gather(dither, self.at.layout, members), step)
            self._streams[code % TURNED] = (members, plain)

    @property
    def bits(self) -> float:
        """About how long the body is."""
        ways = 8 * (_HEAD.size + len(self._streams)) + (_width(len(self._streams)) * (len(self.plan.codes) + 7))
        return ways + sum(stream.bits for _, stream in self._streams.values())

    def body(self, exponent: int) -> bytes:
        """The body, for an update that was divided by 2^exponent."""
        count = len(self._streams)
        groups = np.zeros(len(self.plan.codes), np.int64)
        for number, (members, _) in enumerate(self._streams.values(), 1):
            groups[members] = number
        parts = [_HEAD.pack(self.plan.step, exponent, count), bytes(self._streams), pack(groups, _width(count))]
        for _, stream in self._streams.values():
            parts += [stream.scales, stream.integers.encode()]
        return b"".join(parts)


def fill(x: Float32[np.ndarray, " d"], reader: Reader, step: float, groups: int, at: At) -> None:
    """Writes what the rest of a body says into a vector of zeros.

    Raises:
        PayloadError: the body is not one that `Message.body` writes.
    """
    layout = at.layout
    codes = list(reader.take(groups))
    if len(set(codes)) != groups or max(codes) >= 2 * TURNED:
        raise PayloadError(f"codes of groups {codes}", f"different ones below {2 * TURNED}")
    owner = unpack(reader, _width(groups), len(layout.entries))
    if set(owner.tolist()) - {0} != set(range(1, groups + 1)):
        raise PayloadError("tensors in groups that do not exist, or groups without tensors", f"1 to {groups}")
    dither = _dither(at.key, layout.size) if min(codes) < TURNED else x
    for number, code in enumerate(codes, 1):
        members = np.flatnonzero(owner == number).tolist()
        wide = float(step * steps(code % TURNED - OCTAVES))
        y = _values(reader, code, wide, _gather(dither, layout, members), at.key)
        for member in members:
            entry = layout.entries[member]
            x[entry.start : entry.stop], y = y[: entry.stop - entry.start], y[entry.stop - entry.start :]


def _values(
    reader: Reader, code: int, step: float, dither: Float32[np.ndarray, " n"], key: Key
) -> Float32[np.ndarray, " n"]:
    if code < TURNED:
        return np.asarray((_integers.decode(reader, dither.size) - dither) * np.float32(step), np.float32)
    spread, scale = _SCALES.unpack(reader.take(_SCALES.size))
    if not (0 < scale < 2.0**30 and 2.0**-60 < spread < 2.0**20 and 2.0**-12 < step / spread < 2.0**8):
        raise PayloadError(f"a rotated group of spread {spread}, scale {scale} and step {step}", "positive numbers")
    q = _integers.decode(reader, dither.size)
    return _mixing(key, q.size, code).backward(_cells(q, step, spread) * np.float32(scale))
