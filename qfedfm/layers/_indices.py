"""Which k of d coordinates, in about as many bits as log₂ of how many such sets there are.

Both sides know k and d, and the smaller of the set and its complement is written. The gaps between its members (from
zero on) are split into a head, which is coded, and low bits, which are sent as they are. The cheapest form is taken,
and the first byte says which:

| first byte | form |
|---|---|
| 0 | a bit for each of the d coordinates |
| 1 + s | Golomb–Rice: s low bits a gap, the rest in unary, with its length in bytes in front of it |
| 255 | heads by `_entropy`: a floating-point number with two bits of mantissa; low bits down to the units |

Golomb–Rice needs no table, so it wins for few indices; it takes at most k·(log₂(d/k) + 3) bits and a few bytes, so
that k numbers of ⌈log₂ d⌉ bits, without any coding, would save two bytes at most. The entropy coder wins for many
indices, and where they crowd together.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, Integer, UInt8

from qfedfm.core.body import Reader
from qfedfm.core.errors import PayloadError
from qfedfm.layers import _entropy

_BITMAP, _CODED = 0, 255
_MANTISSA = 2


def encode(indices: Int64[np.ndarray, " k"], d: int) -> bytes:
    """The set of ascending, different indices below d.

    Example:
        >>> body = encode(np.array([3, 70, 900]), 1000)
        >>> len(body), decode(Reader(body), 3, 1000).tolist()
        (6, [3, 70, 900])
    """
    k = len(indices)
    if 2 * k > d:
        return encode(_others(indices, d), d)
    if not k:
        return b""
    gaps = np.diff(indices, prepend=-1) - 1
    most = (d // k).bit_length() - 1
    sizes = {s: _rice_size(k, d, s, int((gaps >> s).sum())) for s in range(max(0, most - 2), most + 1)}
    shift = min(sizes, key=lambda s: sizes[s])
    shortest = min(sizes[shift], -(-d // 8))
    body = _coded(gaps, shortest)
    if body is not None:
        return bytes([_CODED]) + body
    if sizes[shift] == shortest:
        return bytes([1 + shift]) + _rice(gaps, d, shift)
    chosen = np.zeros(d, np.uint8)
    chosen[indices] = 1
    return bytes([_BITMAP]) + np.packbits(chosen).tobytes()


def decode(reader: Reader, k: int, d: int) -> Int64[np.ndarray, " k"]:
    """The k indices that `encode` took, ascending, different and below d.

    Raises:
        PayloadError: the body ends before, or is no such set.
    """
    if 2 * k > d:
        return _others(decode(reader, d - k, d), d)
    if not k:
        return np.zeros(0, np.int64)
    form = int(reader.number("u1"))
    if form == _BITMAP:
        found = np.flatnonzero(np.unpackbits(reader.numbers("u1", -(-d // 8))))
    elif form == _CODED:
        found = np.cumsum(_decoded(reader, k, d) + 1) - 1
    else:
        found = np.cumsum(_read_rice(reader, k, d, form - 1) + 1) - 1
    if len(found) != k or found[-1] >= d:
        raise PayloadError(f"{len(found)} indices up to {found.max(initial=0)}", f"{k} below {d}")
    return found


def largest(k: int, d: int) -> int:
    """The most bytes that `encode` makes of k of d indices."""
    k = min(k, d - k)
    if not k:
        return 0
    shift = (d // k).bit_length() - 1
    return 1 + min(-(-d // 8), _rice_size(k, d, shift, (d - k) >> shift))


def _others(indices: np.ndarray, d: int) -> Int64[np.ndarray, " rest"]:
    missing = np.ones(d, np.bool_)
    missing[indices] = False
    return np.flatnonzero(missing)


def _rice_size(k: int, d: int, shift: int, heads: int) -> int:
    return _length_size(k, d, shift) + -(-k * shift // 8) + -(-(k + heads) // 8)


def _most_unary(k: int, d: int, shift: int) -> int:
    return -(-(k + ((d - k) >> shift)) // 8)


def _length_size(k: int, d: int, shift: int) -> int:
    """Bytes of the field that holds the length of the unary part."""
    return -(-_most_unary(k, d, shift).bit_length() // 8)


def _rice(gaps: Int64[np.ndarray, " k"], d: int, shift: int) -> bytes:
    ends = np.cumsum((gaps >> shift) + 1) - 1
    unary = np.zeros(int(ends[-1]) + 1, np.uint8)
    unary[ends] = 1
    packed, k = np.packbits(unary).tobytes(), len(gaps)
    length = len(packed).to_bytes(_length_size(k, d, shift), "little")
    return length + packed + _pack_low(gaps, np.full(k, shift))


def _read_rice(reader: Reader, k: int, d: int, shift: int) -> Int64[np.ndarray, " k"]:
    if shift >= d.bit_length():
        raise PayloadError(f"a gap of {shift} low bits", f"fewer than {d.bit_length()}")
    length = int.from_bytes(reader.take(_length_size(k, d, shift)), "little")
    if length > _most_unary(k, d, shift):
        raise PayloadError(f"heads of {length} bytes", f"at most {_most_unary(k, d, shift)}")
    ends = np.flatnonzero(np.unpackbits(reader.numbers("u1", length)))
    if len(ends) != k:
        raise PayloadError(f"{len(ends)} gaps", f"{k}")
    heads = np.diff(ends, prepend=-1) - 1
    return np.asarray(heads << shift | _unpack_low(reader, np.full(k, shift)))


def _split(gaps: Int64[np.ndarray, " k"]) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """The symbol of each gap, and how many low bits follow: floating point, with small gaps as they are."""
    bits = np.frexp(gaps.astype(np.float64))[1].astype(np.int64)
    widths = np.maximum(bits - (1 + _MANTISSA), 0)
    return (gaps >> widths) + (widths << _MANTISSA), widths


def _coded(gaps: Int64[np.ndarray, " k"], shortest: int) -> bytes | None:
    """The gaps by the entropy coder; None where that takes no fewer bytes than ``shortest``."""
    symbols, widths = _split(gaps)
    raw = -(-int(widths.sum()) // 8)
    if _entropy.bits(np.bincount(symbols)) / 8 + raw >= shortest:
        return None
    body = _entropy.encode(symbols) + _pack_low(gaps, widths)
    return body if len(body) < shortest else None


def _decoded(reader: Reader, k: int, d: int) -> Int64[np.ndarray, " k"]:
    symbols = _entropy.decode(reader, k).astype(np.int64)
    limit = int(_split(np.array([d]))[0][0])
    if symbols.max() > limit:
        raise PayloadError(f"a gap of class {symbols.max()}", f"at most {limit}")
    widths = np.maximum((symbols >> _MANTISSA) - 1, 0)
    heads = symbols - (widths << _MANTISSA)
    return np.asarray(heads << widths | _unpack_low(reader, widths))


def _pack_low(values: Integer[np.ndarray, " k"], widths: Integer[np.ndarray, " k"]) -> bytes:
    """The lowest bits of each value, as many as its width: the lowest of all that have one, then the next."""
    planes = [(values[widths > bit] >> bit & 1).astype(np.uint8) for bit in range(int(widths.max()))]
    return np.packbits(np.concatenate(planes)).tobytes() if planes else b""


def _unpack_low(reader: Reader, widths: Integer[np.ndarray, " k"]) -> Int64[np.ndarray, " k"]:
    total = int(widths.sum())
    bits: UInt8[np.ndarray, " total"] = np.unpackbits(reader.numbers("u1", -(-total // 8)), count=total)
    found, start = np.zeros(len(widths), np.int64), 0
    for bit in range(int(widths.max())):
        longer = widths > bit
        stop = start + int(np.count_nonzero(longer))
        found[longer] |= bits[start:stop].astype(np.int64) << bit
        start = stop
    return found
