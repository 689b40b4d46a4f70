"""A matrix as a tensor of several small axes, which is what a tensor train takes apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qfedfm.core.errors import DataError

Order = Literal["paired", "plain"]


def factors(n: int, count: int) -> tuple[int, ...]:
    """``count`` factors of n, as near to each other as its primes allow, in ascending order.

    The primes go from the largest to the smallest, each to the smallest factor so far.

    Example:
        >>> factors(384, 3), factors(7, 2), factors(384, 1)
        ((6, 8, 8), (1, 7), (384,))
    """
    found = [1] * count
    for prime in reversed(_primes(n)):
        found[found.index(min(found))] *= prime
    return tuple(sorted(found))


def _primes(n: int) -> list[int]:
    found, divisor = [], 2
    while divisor * divisor <= n:
        while n % divisor == 0:
            found.append(divisor)
            n //= divisor
        divisor += 1
    return [*found, n] if n > 1 else found


def largest_ranks(shape: Sequence[int]) -> tuple[int, ...]:
    """The largest rank that each bond of a train of a tensor of this shape can need.

    Example:
        >>> largest_ranks((2, 4, 16, 24))
        (2, 8, 24)
    """
    return tuple(min(math.prod(shape[:k]), math.prod(shape[k:])) for k in range(1, len(shape)))


@dataclass(frozen=True)
class Folding:
    """How a matrix of m × n becomes a tensor, and back.

    With m = m₁⋯m_c and n = n₁⋯n_c, ``plain`` is the tensor m₁ × ⋯ × m_c × n₁ × ⋯ × n_c, for c = 1 the matrix itself;
    ``paired`` has the axes (m₁n₁) × ⋯ × (m_c n_c), the order of a matrix product operator, for c = 2 that of a sum of
    Kronecker products (Novikov et al. 2015, arXiv 1509.06569). Nothing is padded.

    Args:
        rows: m₁ … m_c.
        columns: n₁ … n_c.
        order: which of the two.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    order: Order

    @classmethod
    def of(cls, shape: Sequence[int], count: int, order: Order) -> Folding:
        """With ``count`` factors of each axis, large ones paired with small ones.

        A tensor of more than two axes is the matrix of its first by all others.

        Raises:
            DataError: there are fewer than two axes.
        """
        if len(shape) < 2:
            raise DataError(f"a tensor of shape {tuple(shape)}", "at least two axes")
        rows, columns = factors(shape[0], count), factors(math.prod(shape[1:]), count)
        return cls(rows, columns[::-1] if order == "paired" else columns, order)

    @property
    def shape(self) -> tuple[int, ...]:
        """The axes of the tensor."""
        if self.order == "plain":
            return self.rows + self.columns
        return tuple(m * n for m, n in zip(self.rows, self.columns, strict=True))

    def fold(self, matrix: np.ndarray) -> np.ndarray:
        """The tensor of a matrix, or of anything that holds its m · n numbers in their order."""
        if self.order == "plain":
            return matrix.reshape(self.shape)
        count = len(self.rows)
        axes = [axis for k in range(count) for axis in (k, count + k)]
        return matrix.reshape(self.rows + self.columns).transpose(axes).reshape(self.shape)

    def unfold(self, tensor: np.ndarray) -> np.ndarray:
        """The m · n numbers of the matrix, in its order, of the tensor."""
        if self.order == "plain":
            return tensor.reshape(-1)
        count = len(self.rows)
        pairs = tensor.reshape([axis for pair in zip(self.rows, self.columns, strict=True) for axis in pair])
        return pairs.transpose([*range(0, 2 * count, 2), *range(1, 2 * count, 2)]).reshape(-1)
