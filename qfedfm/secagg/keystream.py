"""Masks: the keystream of a cipher, read as ring elements and added in place."""

from __future__ import annotations

from enum import Enum
from functools import cache

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from jaxtyping import UInt

from qfedfm.core.errors import ConfigError

KEY = 32
"""Bytes of a key."""
BLOCK = 2**16
"""Bytes of keystream at a time: they stay in the cache until they have been added."""


class Stream(Enum):
    """The cipher that masks come from, with its full 256-bit key; both are computational, not a one-time pad."""

    AES = "aes-256-ctr"
    CHACHA = "chacha20"

    def start(self, key: bytes) -> CipherContext:
        """The keystream of a key that is used for nothing else, from its beginning.

        Raises:
            ConfigError: the key has another length than 32 bytes.
        """
        if len(key) != KEY:
            raise ConfigError(f"a key of {len(key)} bytes", f"{KEY}")
        if self is Stream.AES:
            return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        return Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor()


@cache
def _zeros() -> bytes:
    return bytes(BLOCK)


def add_mask(total: UInt[np.ndarray, " d"], key: bytes, *, subtract: bool = False, stream: Stream = Stream.AES) -> None:
    """Sets total ← total ± PRG(key) in the ring, in place and without another array of its length.

    PRG(key) is the first d little-endian elements of the keystream. With 2^b elements in the ring every one of them is
    equally likely, without a remainder to reject.

    Args:
        total: d elements of `qfedfm.core.ring.Ring.dtype`, contiguous; changed.
        key: 32 bytes, for this mask and nothing else.
        subtract: − in the place of +.
        stream: the cipher.

    Raises:
        ConfigError: the key has another length than 32 bytes.

    Example:
        >>> total = np.zeros(3, "<u4")
        >>> add_mask(total, bytes(32))
        >>> add_mask(total, bytes(32), subtract=True)
        >>> total.tolist()
        [0, 0, 0]
    """
    cipher, buffer = stream.start(key), bytearray(BLOCK + 16)
    change = np.subtract if subtract else np.add
    width, zeros, view = total.dtype.itemsize, memoryview(_zeros()), memoryview(buffer)
    elements = np.frombuffer(buffer, total.dtype, BLOCK // width)
    for start in range(0, len(total), len(elements)):
        part = total[start : start + len(elements)]
        size = len(part) * width
        cipher.update_into(zeros[:size], view)
        change(part, elements[: len(part)], out=part)
