"""Whole numbers of a few bits each, packed without gaps."""

from __future__ import annotations

import numpy as np
from jaxtyping import Integer, UInt32

from qfedfm.core.body import Reader


def packed_length(width: int, count: int) -> int:
    """Bytes of that many numbers of that many bits: width · ⌈count/8⌉."""
    return width * -(-count // 8)


def pack(values: Integer[np.ndarray, " n"], width: int) -> bytes:
    """Numbers below 2^width as bit planes, the lowest bit of all of them first; each plane padded to whole bytes.

    Example:
        >>> pack(np.array([1, 2, 3]), 2).hex()
        'a060'
    """
    small: np.ndarray = values.astype(np.uint8 if width <= 8 else np.uint32)
    return b"".join(np.packbits(small & (1 << bit) != 0).tobytes() for bit in range(width))


def unpack(reader: Reader, width: int, count: int) -> UInt32[np.ndarray, " n"]:
    """The numbers that `pack` packed, taken from the body.

    Raises:
        PayloadError: the body ends before.

    Example:
        >>> unpack(Reader(bytes.fromhex("a060")), 2, 3).tolist()
        [1, 2, 3]
    """
    planes = reader.numbers("u1", packed_length(width, count)).reshape(width, -1)
    dtype = np.dtype(np.uint8 if width <= 8 else np.uint32)
    found = np.zeros(count, dtype)
    for bit, plane in enumerate(planes):
        found |= np.left_shift(np.unpackbits(plane, count=count), bit, dtype=dtype)
    return found.astype(np.uint32)
