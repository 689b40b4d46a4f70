"""Whole numbers modulo a power of two: where masks cancel exactly, and how much fits in before a sum overflows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt

from qfedfm.core.errors import ConfigError, StackError

WIDTHS = (32, 64)
"""Bits of the moduli that there are, those for which a processor's own addition is that of the ring."""


@dataclass(frozen=True)
class Ring:
    """Z/2^b. A sum of whole numbers that lies within ±(2^b − 1)/2 is read back exactly.

    Args:
        bits: b, 32 or 64.

    Raises:
        ConfigError: another b.

    Example:
        >>> ring = Ring(32)
        >>> elements = ring.elements(np.array([-5, 7]))
        >>> elements.tolist(), ring.integers(elements).tolist()
        ([4294967291, 7], [-5, 7])
    """

    bits: int = 32

    def __post_init__(self) -> None:
        if self.bits not in WIDTHS:
            raise ConfigError(f"a ring of {self.bits} bits", " or ".join(map(str, WIDTHS)))

    @classmethod
    def holding(cls, clients: int, bound: int, max_weight: int) -> Ring:
        """The smallest ring that `check` accepts.

        Raises:
            StackError: there is none.
        """
        small = cls(WIDTHS[0])
        ring = small if needed(clients, bound, max_weight) <= small.modulus else cls(WIDTHS[1])
        ring.check(clients, bound, max_weight)
        return ring

    @property
    def modulus(self) -> int:
        """2^b."""
        return 1 << self.bits

    @property
    def dtype(self) -> np.dtype:
        """Of the elements, little-endian as they travel."""
        return np.dtype(f"<u{self.bits // 8}")

    def elements(self, integers: Int64[np.ndarray, " d"]) -> UInt[np.ndarray, " d"]:
        """Q mod 2^b."""
        return integers.astype(self.dtype)

    def integers(self, elements: UInt[np.ndarray, " d"]) -> Int64[np.ndarray, " d"]:
        """The representative of each element in −2^(b−1) … 2^(b−1) − 1."""
        return elements.view(f"<i{self.bits // 8}").astype(np.int64)

    def check(self, clients: int, bound: int, max_weight: int) -> None:
        """Refuses sums that could overflow: |Σₖ wₖ qₖ| ≤ n · bound · w_max has to be at most (2^b − 1)/2.

        Args:
            clients: n, those that a round invites.
            bound: of the magnitude of a client's whole numbers, before its weight.
            max_weight: w_max, the largest weight that a client may have.

        Raises:
            StackError: 2^b is below 2 · n · bound · w_max + 1, or one of the three is below 1.
        """
        if min(clients, bound, max_weight) < 1:
            raise StackError(f"{clients} clients, bound {bound}, weights to {max_weight}", "at least 1 of each")
        least = needed(clients, bound, max_weight)
        if self.modulus < least:
            given = f"modulus 2^{self.bits} for {clients} clients with numbers to ±{bound} and weights to {max_weight}"
            raise StackError(given, f"at least {least}", "take fewer bits a number, smaller weights or a wider ring")


def needed(clients: int, bound: int, max_weight: int) -> int:
    """2 · n · bound · w_max + 1, the number of values that the sum can have.

    Example:
        >>> needed(50, 2**15 - 1, 1000) <= 2**32
        True
    """
    return 2 * clients * bound * max_weight + 1
