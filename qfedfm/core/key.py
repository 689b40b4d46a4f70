"""Keys for the randomness of the simulation: folded by purpose, never by position and never global."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Key:
    """A node in a tree of random streams.

    ``key.fold(round, client, "dropout")`` names a stream by what it is for, so the same client draws the same numbers
    whoever else takes part and in whatever order they are served. Folding hashes with SHA-256; two different paths give
    independent streams. Not for secrets: a key is derived from the experiment's public seed.

    Example:
        >>> a = Key.of(7).fold("client", 3)
        >>> b = Key.of(7).fold("client", 3)
        >>> bool(a.numpy().random() == b.numpy().random())
        True
    """

    digest: bytes

    @classmethod
    def of(cls, seed: int) -> Key:
        """The root key of a seed."""
        return cls(hashlib.sha256(b"qfedfm:" + str(int(seed)).encode()).digest())

    def fold(self, *path: int | str) -> Key:
        """The key below this one at ``path``; integers and their decimal strings are different steps."""
        digest = self.digest
        for step in path:
            tag = b"s" if isinstance(step, str) else b"i"
            digest = hashlib.sha256(digest + tag + str(step).encode()).digest()
        return Key(digest)

    def numpy(self) -> np.random.Generator:
        """A fresh numpy generator; calling twice gives the same stream."""
        return np.random.Generator(np.random.PCG64(int.from_bytes(self.digest[:16], "little")))

    def integer(self) -> int:
        """A non-negative 63-bit integer, for libraries that are seeded by a number, such as torch."""
        return int.from_bytes(self.digest[16:24], "little") >> 1
