"""Whole numbers around zero as a stream of symbols: small ones each a symbol, large ones by their length in bits."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int32, Int64

from qfedfm.core.body import Reader
from qfedfm.core.errors import PayloadError
from qfedfm.layers import _entropy
from qfedfm.layers._packing import pack, unpack

_LEAST, _MOST = 2, 11
"""Bits below which every number is a symbol of its own."""
_LONGEST = 31


class Integers:
    """Numbers in the order z = 0, −1, 1, −2, 2, …, with the cheapest way to write them.

    Below 2ᵗ, z is a symbol. Above, its length b in bits is one, and its b lower bits follow as they are (as in
    exponential Golomb codes). t is the one of 2 to 11 that gives the fewest bits, the table of frequencies included.

    Args:
        values: the numbers, below 2³⁰ in magnitude.
    """

    def __init__(self, values: Int32[np.ndarray, " n"]) -> None:
        self._z = np.bitwise_xor(values << 1, values >> 31)  # 0, −1, 1, −2 … as 0, 1, 2, 3 …
        top = int(self._z.max(initial=0))
        counts: np.ndarray
        lengths: np.ndarray
        if top < 2**_MOST:
            counts, lengths = np.bincount(self._z), np.zeros(_LONGEST, np.int64)
        else:
            large = self._z[self._z >= 2**_MOST]
            counts = np.bincount(self._z[self._z < 2**_MOST], minlength=2**_MOST)
            lengths = np.bincount(_length(large), minlength=_LONGEST)
        costs = {}
        for threshold in range(_LEAST, _MOST + 1):
            costs[threshold] = _cost(counts, lengths, threshold)
            if 2**threshold > top:
                break
        self._threshold = min(costs, key=costs.__getitem__)
        self.bits = costs[self._threshold]

    def encode(self) -> bytes:
        """The threshold, the stream of symbols, and the lower bits by length; about ``bits`` bits."""
        z, limit = self._z, 1 << self._threshold
        escaped = np.flatnonzero(z >= limit)
        if not len(escaped):
            return bytes([self._threshold]) + _entropy.encode(z)
        large, symbols = z[escaped], z.copy()
        lengths = _length(large)
        symbols[escaped] = limit + lengths - self._threshold
        tails = [pack(large[lengths == b] - (1 << b), b) for b in np.unique(lengths).tolist()]
        return bytes([self._threshold]) + _entropy.encode(symbols) + b"".join(tails)


def _length(z: np.ndarray) -> Int64[np.ndarray, " n"]:
    """⌊log₂ z⌋."""
    return np.asarray(np.frexp(z.astype(np.float64))[1] - 1, np.int64)


def _cost(counts: Int64[np.ndarray, " k"], lengths: Int64[np.ndarray, " l"], threshold: int) -> float:
    limit = 1 << threshold
    direct, beyond = counts[:limit], counts[limit:]
    if not len(beyond) and not lengths.any():
        return _entropy.bits(direct) + 8
    classes = lengths.copy()
    if len(beyond):
        classes += np.bincount(_length(np.arange(limit, limit + len(beyond))), beyond, _LONGEST).astype(np.int64)
    tail = float(classes @ np.arange(_LONGEST)) + 3.5 * float(np.flatnonzero(classes).sum())
    top = int(np.flatnonzero(classes)[-1]) + 1
    padded = np.concatenate([direct, np.zeros(limit - len(direct), np.int64), classes[threshold:top]])
    return _entropy.bits(padded) + tail + 8


def decode(reader: Reader, count: int) -> Int32[np.ndarray, " n"]:
    """The numbers that were encoded, ``count`` of them.

    Raises:
        PayloadError: the body ends before, or says what `Integers.encode` never writes.
    """
    threshold = int(reader.number("u1"))
    if not _LEAST <= threshold <= _MOST:
        raise PayloadError(f"a threshold of 2^{threshold}", f"2^{_LEAST} to 2^{_MOST}")
    symbols, limit = _entropy.decode(reader, count), 1 << threshold
    top = int(symbols.max(initial=0))
    if top < limit:
        return np.asarray(_signed(np.arange(top + 1, dtype=np.int32))[symbols])
    z, escaped = symbols.astype(np.int64), np.flatnonzero(symbols >= limit)
    lengths = z[escaped] - limit + threshold
    if int(lengths.max()) >= _LONGEST:
        raise PayloadError(f"a number of {int(lengths.max())} bits", f"fewer than {_LONGEST}")
    for b in np.unique(lengths).tolist():
        places = escaped[lengths == b]
        z[places] = unpack(reader, b, len(places)).astype(np.int64) + (1 << b)
    return np.asarray(_signed(z), np.int32)


def _signed(z: np.ndarray) -> np.ndarray:
    """0, 1, 2, 3 … as 0, −1, 1, −2 …"""
    return np.asarray(np.bitwise_xor(z >> 1, -(z & 1)))


def largest(count: int) -> int:
    """The most bytes of so many numbers."""
    return 1 + _entropy.largest(count) + 4 * count + _LONGEST * _LONGEST
