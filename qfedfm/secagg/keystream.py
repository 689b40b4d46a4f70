"""Masks: the keystream of a cipher, read as ring elements and added in place."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from functools import cache

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from jaxtyping import UInt

from qfedfm.core.errors import ConfigError

KEY = 32
"""Bytes of a key."""
BLOCK = 2**17
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


def add_masks(
    total: UInt[np.ndarray, " d"],
    added: Iterable[bytes],
    subtracted: Iterable[bytes] = (),
    stream: Stream = Stream.AES,
) -> None:
    """Sets total ← total + Σ PRG(added) − Σ PRG(subtracted) in the ring, in place and in memory for one block.

    PRG(key) is the first d little-endian elements of the keystream. With 2^b elements in the ring every one of them is
    equally likely, without a remainder to reject. All masks are added to one block before the next.

    Args:
        total: d elements of `qfedfm.core.ring.Ring.dtype`, contiguous; changed.
        added: keys of 32 bytes, each for one mask and nothing else.
        subtracted: likewise.
        stream: the cipher.

    Raises:
        ConfigError: a key has another length than 32 bytes.

    Example:
        >>> total = np.zeros(3, "<u4")
        >>> add_masks(total, [bytes(32)])
        >>> add_masks(total, [], [bytes(32)])
        >>> total.tolist()
        [0, 0, 0]
    """
    ciphers = [(stream.start(key), np.add) for key in added] + [(stream.start(key), np.subtract) for key in subtracted]
    buffer, zeros = memoryview(bytearray(BLOCK + 16)), memoryview(_zeros())
    elements = np.frombuffer(buffer, total.dtype, BLOCK // total.dtype.itemsize)
    for start in range(0, len(total), len(elements)):
        part = total[start : start + len(elements)]
        for cipher, change in ciphers:
            cipher.update_into(zeros[: part.nbytes], buffer)
            change(part, elements[: len(part)], out=part)
