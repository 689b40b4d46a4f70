"""Where the randomness of a link comes from: the operating system, or a seed that is no secret."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64, UInt8

from qfedfm.core.key import Key


class Entropy(ABC):
    """A source of random bytes."""

    label: str
    """What shows beside everything that was made from it."""
    secret: bool
    """Whether nobody can repeat what it gave."""

    @abstractmethod
    def bytes(self, count: int) -> bytes:
        """The next bytes, never given before."""

    def bits(self, count: int) -> UInt8[np.ndarray, " n"]:
        """Fair bits, one a byte: what becomes a key, a basis, a hash or a test subset."""
        packed = np.frombuffer(self.bytes(-(-count // 8)), np.uint8)
        return np.unpackbits(packed, count=count)

    def generator(self) -> np.random.Generator:
        """A fast generator for physics only (losses, noise): its output must be of no use to an eavesdropper."""
        return np.random.Generator(np.random.PCG64(int.from_bytes(self.bytes(32), "little")))

    def permutation(self, count: int) -> Int64[np.ndarray, " n"]:
        """A random order of ``count`` things: that of as many random 64-bit numbers."""
        numbers = np.frombuffer(self.bytes(8 * count), np.uint64)
        return np.argsort(numbers, kind="stable").astype(np.int64, copy=False)


class System(Entropy):
    """The operating system's generator.

    Example:
        >>> System().bits(5).shape
        (5,)
    """

    label = "randomness of the operating system"
    secret = True

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)


@dataclass
class Seeded(Entropy):
    """Bytes that follow from a key of the simulation: for experiments that must repeat, never for secrets.

    Example:
        >>> Seeded(Key.of(1)).bytes(4) == Seeded(Key.of(1)).bytes(4)
        True
    """

    key: Key
    label = "INSECURE: from a seed"
    secret = False
    _stream: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._stream = self.key.fold("entropy").numpy()

    def bytes(self, count: int) -> bytes:
        return self._stream.bytes(count)
