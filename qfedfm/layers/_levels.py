"""Whole levels with a sign, in buckets that have a scale each: what the quantisers share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, Integer

from qfedfm.core.body import Reader
from qfedfm.core.errors import PayloadError
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.layers._entropy import decode as decode_stream
from qfedfm.layers._entropy import encode as encode_stream
from qfedfm.layers._packing import pack, packed_length, unpack

Coding = Literal["planes", "entropy"]
"""How levels travel: as bit planes, with a sign for each that is not zero, or entropy-coded, sign and all."""
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Buckets:
    """The vector cut into consecutive buckets.

    Args:
        sizes: how many coordinates each has, at least one.
    """

    sizes: Int64[np.ndarray, " b"]

    @classmethod
    def of(cls, layout: Layout, bucket: int | Literal["tensor", "vector"] = "tensor") -> Buckets:
        """The tensors of the layout, the vector as one, or blocks of so many coordinates, the last of them shorter."""
        if bucket == "tensor":
            return cls(np.array([entry.stop - entry.start for entry in layout]))
        size = layout.size if bucket == "vector" else bucket
        return cls(np.minimum(size, layout.size - np.arange(0, layout.size, size)))

    @cached_property
    def starts(self) -> Int64[np.ndarray, " b"]:
        """Where each begins."""
        return np.asarray(np.cumsum(self.sizes) - self.sizes)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.sizes)

    @property
    def longest(self) -> int:
        """Coordinates of the largest."""
        return int(self.sizes.max())

    def largest(self, values: np.ndarray) -> np.ndarray:
        """The largest of the values in each."""
        return np.asarray(np.maximum.reduceat(values, self.starts))

    def total(self, values: np.ndarray) -> Float64[np.ndarray, " b"]:
        """The sum of the values in each, in float64."""
        return np.asarray(np.add.reduceat(values, self.starts, dtype=np.float64))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """For each coordinate the value of its bucket."""
        return np.asarray(np.repeat(values, self.sizes))


def rounded_up(scales: Float64[np.ndarray, " b"]) -> Float32[np.ndarray, " b"]:
    """The least float32 that is no smaller, or the largest there is."""
    bounded = np.minimum(scales, _LARGEST)
    found: np.ndarray = bounded.astype("<f4")
    np.nextafter(found, np.float32(np.inf), out=found, where=found < bounded)
    return found


def read_scales(reader: Reader, count: int) -> Float64[np.ndarray, " b"]:
    """The next scales of a body.

    Raises:
        PayloadError: there are not as many, or one is negative or not finite.
    """
    found = reader.finite(count)
    if (found < 0).any():
        raise PayloadError(f"a scale of {found.min()}", "none below 0")
    return found.astype(np.float64)


def draw(
    magnitudes: Float64[np.ndarray, " d"], steps: Float64[np.ndarray, " b"], buckets: Buckets, key: Key
) -> Int32[np.ndarray, " d"]:
    """⌊|x|/step + u⌋ for u uniform in [0, 1): the level below or above, so that level · step has the mean |x|."""
    per_step = np.divide(1.0, steps, out=np.zeros_like(steps), where=steps > 0)
    levels: np.ndarray = magnitudes * buckets.spread(per_step)
    levels += key.numpy().random(len(levels), dtype=np.float32)
    return levels.astype(np.int32)  # truncates, which for what is not negative is the floor


def signed(
    levels: Integer[np.ndarray, " d"],
    negative: Bool[np.ndarray, " d"],
    steps: Float64[np.ndarray, " b"],
    buckets: Buckets,
) -> Float64[np.ndarray, " d"]:
    """± level · step."""
    values: np.ndarray = levels * buckets.spread(steps)
    np.negative(values, out=values, where=negative)
    return values


def width(most: Integer[np.ndarray, " b"]) -> Int64[np.ndarray, " b"]:
    """Bits of the number: 0 for 0, else 1 + ⌊log₂⌋."""
    return np.asarray(np.frexp(most)[1], np.int64)


def pack_signs(negative: Bool[np.ndarray, " d"], above: Bool[np.ndarray, " d"]) -> bytes:
    """A bit for each coordinate that is not zero, set where it is negative."""
    return np.packbits(negative[above]).tobytes()


def unpack_signs(reader: Reader, above: Bool[np.ndarray, " d"]) -> Bool[np.ndarray, " d"]:
    """Where the signs that `pack_signs` packed are negative.

    Raises:
        PayloadError: the body ends before.
    """
    negative, count = np.zeros(len(above), bool), int(np.count_nonzero(above))
    negative[above] = np.unpackbits(reader.numbers("u1", packed_length(1, count)), count=count)
    return negative


def pack_planes(
    levels: Integer[np.ndarray, " d"],
    negative: Bool[np.ndarray, " d"],
    most: Integer[np.ndarray, " b"],
    buckets: Buckets,
) -> bytes:
    """Levels of 0 to ``most`` in each bucket, buckets of one width together, then the signs of those above 0.

    | bytes | field |
    |---|---|
    | w · ⌈n/8⌉ | for each width w of ``most`` from the smallest: the levels of the n coordinates that have it |
    | ⌈m/8⌉ | signs of the m levels above 0, set where negative |
    """
    widths = width(most)
    planes = [pack(levels[buckets.spread(widths == bits)], bits) for bits in np.unique(widths[widths > 0]).tolist()]
    return b"".join([*planes, pack_signs(negative, levels > 0)])


def unpack_planes(
    reader: Reader, most: Integer[np.ndarray, " b"], buckets: Buckets
) -> tuple[Integer[np.ndarray, " d"], Bool[np.ndarray, " d"]]:
    """What `pack_planes` packed.

    Raises:
        PayloadError: the body ends before, or a level is above its ``most``.
    """
    widths, levels = width(most), np.zeros(int(buckets.sizes.sum()), np.uint32)
    for bits in np.unique(widths[widths > 0]).tolist():
        member = buckets.spread(widths == bits)
        levels[member] = unpack(reader, bits, np.count_nonzero(member))
    if (buckets.largest(levels) > most).any():
        raise PayloadError("a level above the largest", "none above")
    return levels, unpack_signs(reader, levels > 0)


def planes_length(most: int, count: int) -> int:
    """The most bytes of so many levels that all have this ``most``."""
    return packed_length(most.bit_length(), count) + packed_length(1, count)


def entropy_code(levels: Integer[np.ndarray, " d"], negative: Bool[np.ndarray, " d"], most: int) -> bytes:
    """Levels of 0 to ``most`` with their signs, as one stream of the symbols from −most to most."""
    return encode_stream(np.where(negative, most - levels, most + levels))


def entropy_decode(reader: Reader, most: int, count: int) -> tuple[Integer[np.ndarray, " d"], Bool[np.ndarray, " d"]]:
    """What `entropy_code` coded.

    Raises:
        PayloadError: it is no stream of so many symbols, or a level is above ``most``.
    """
    signed = decode_stream(reader, count) - most
    if signed.max() > most:
        raise PayloadError(f"a level of {signed.max()}", f"at most {most}")
    return np.abs(signed), signed < 0


def omega(most: int, size: int) -> float:
    """ω of levels of max|x|/most, stochastically rounded, in a bucket: (√(1 + (size − 1)/most²) − 1)/2, attained.

    With z = most·|x|/max|x| and f its fraction the error is Σ f(1 − f) against ‖z‖² = most² + Σ z². Of all vectors the
    worst have one largest coordinate and all others at z = 1/(2 + 2ω).
    """
    return (math.sqrt(1 + (size - 1) / most**2) - 1) / 2
