"""Which singular values of many tensors are worth their room: one threshold for all bonds of all tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from qfedfm.core.folding import largest_ranks

_NOISE = 1e-7
"""Below this share of a bond's largest, a singular value is rounding error of float32 numbers."""

Cost = Callable[[Int64[np.ndarray, "t bonds"]], Float64[np.ndarray, " t"]]


def numbers(ranks: Int64[np.ndarray, "t bonds"], axes: Int64[np.ndarray, "t d"]) -> Int64[np.ndarray, " t"]:
    """Σ r_{k−1} n_k r_k of trains of tensors with these axes; none where the ranks are zero.

    Example:
        >>> numbers(np.array([[2], [0]]), np.array([[3, 5], [3, 5]])).tolist()
        [16, 0]
    """
    ends = _with_ends(ranks)
    found: np.ndarray = (ends[:, :-1] * axes * ends[:, 1:]).sum(axis=1) * ranks.any(axis=1)
    return found


@dataclass(frozen=True)
class Ranks:
    """What `Spectra.within` and `Spectra.cheapest` choose.

    Args:
        ranks: of each tensor's train; all zero for a tensor that is left out.
        dense: the tensors that cost no more as they are.
    """

    ranks: Int64[np.ndarray, "t bonds"]
    dense: Bool[np.ndarray, " t"]


@dataclass(frozen=True)
class Spectra:
    """The singular values of all unfoldings of tensors of d axes each, those worth most first.

    The train with ranks r_k is off by at most (Σ_k Σ_{i > r_k} σ²_{k,i})^½ (Oseledets 2011, theorem 2.2). A singular
    value is worth σ²/c, c being the numbers that another rank of its bond adds where its neighbours' ranks are as large
    as they can be. For matrices, whose only bond costs m + n, this is the best choice that there is, as long as none
    is cheaper dense; a tensor that matters little to the whole gets low ranks, or none.

    Args:
        values: σ > 0 of all bonds together.
        bond: tensor · (d − 1) + k, for each of them.
        place: i, the number of larger ones in its bond.
        axes: of the tensors.
    """

    values: Float64[np.ndarray, " s"]
    bond: Int64[np.ndarray, " s"]
    place: Int64[np.ndarray, " s"]
    axes: Int64[np.ndarray, "t d"]

    @classmethod
    def of(cls, tensors: Sequence[np.ndarray]) -> Spectra:
        """Of the tensors, from the eigenvalues of the smaller Gram matrix of each unfolding; at least one."""
        bonds = tensors[0].ndim - 1
        alike: dict[tuple[int, ...], list[int]] = {}
        for number, tensor in enumerate(tensors):
            alike.setdefault(tensor.shape, []).append(number)
        columns: list[tuple[np.ndarray, ...]] = []
        for shape, same in alike.items():
            batch = np.stack([tensors[number] for number in same]).astype(np.float64, copy=False)
            for k, cost in enumerate(_costs(shape)):
                found = _singular_values(batch.reshape(len(same), math.prod(shape[: k + 1]), -1))
                many, bond = found.shape[1], np.array(same) * bonds + k
                place = np.tile(np.arange(many), len(same))
                columns.append((found.ravel(), np.repeat(bond, many), place, found.ravel() ** 2 / cost))
        values, bond, place, worth = (np.concatenate(column) for column in zip(*columns, strict=True))
        order = np.argsort(-worth, kind="stable")[: np.count_nonzero(values)]
        return cls(values[order], bond[order], place[order], np.array([tensor.shape for tensor in tensors]))

    def _first(self, kept: int) -> Int64[np.ndarray, "t bonds"]:
        """The ranks when so many of the values are kept; none of a train is zero unless all are, none of no use."""
        count, d = self.axes.shape
        ranks = np.bincount(self.bond[:kept], minlength=count * (d - 1)).reshape(count, d - 1)
        ranks = _with_ends(np.maximum(ranks, ranks.any(axis=1, keepdims=True)))
        for k in range(1, d):
            ranks[:, k] = np.minimum(ranks[:, k], ranks[:, k - 1] * self.axes[:, k - 1])
        for k in range(d - 1, 0, -1):
            ranks[:, k] = np.minimum(ranks[:, k], ranks[:, k + 1] * self.axes[:, k])
        return ranks[:, 1:-1]

    def _lost(self, ranks: Int64[np.ndarray, "t bonds"]) -> Float64[np.ndarray, " t"]:
        """The bound on the squared error of each tensor."""
        tails = self.place >= ranks.ravel()[self.bond]
        squares = np.bincount(self.bond[tails], self.values[tails] ** 2, ranks.size).reshape(ranks.shape)
        return np.asarray(np.where(ranks.any(axis=1), squares.sum(axis=1), squares.max(axis=1)), np.float64)

    def within(self, budget: float, cost: Cost, dense: Float64[np.ndarray, " t"]) -> Ranks:
        """The largest ranks whose cost is within the budget; all zero where not even the smallest are.

        Args:
            budget: of all tensors together, in the unit of the costs.
            cost: of trains with these ranks; grows with them.
            dense: of the tensors as they are, which are taken where that costs no more.
        """

        def fits(kept: int) -> bool:
            return float(np.minimum(cost(self._first(kept)), dense).sum()) <= budget

        return self._choice(_last(fits, len(self.values)), cost, dense)

    def cheapest(self, square: float, cost: Cost, dense: Float64[np.ndarray, " t"]) -> Ranks:
        """The smallest ranks whose squared errors sum to at most ``square``; see `within`."""

        def wrong(kept: int) -> bool:
            ranks = self._first(kept)
            return float(self._lost(ranks)[cost(ranks) < dense].sum()) > square

        kept = 1 + _last(wrong, len(self.values)) if wrong(0) else 0
        return self._choice(min(kept, len(self.values)), cost, dense)

    def _choice(self, kept: int, cost: Cost, dense: np.ndarray) -> Ranks:
        ranks = self._first(kept)
        return Ranks(ranks, cost(ranks) >= dense)


def _with_ends(ranks: Int64[np.ndarray, "t bonds"]) -> Int64[np.ndarray, "t ends"]:
    """r₀ … r_d, with r₀ = r_d = 1."""
    found = np.ones((len(ranks), ranks.shape[1] + 2), np.int64)
    found[:, 1:-1] = ranks
    return found


def _costs(shape: tuple[int, ...]) -> list[int]:
    """The numbers that one more rank adds to each bond of a train of the largest ranks."""
    most = [1, *largest_ranks(shape), 1]
    return [most[k] * shape[k] + shape[k + 1] * most[k + 2] for k in range(len(shape) - 1)]


def _last(holds: Callable[[int], bool], end: int) -> int:
    """The last of 0 … end for which it holds, given that it holds up to somewhere; 0 where it never does."""
    low, high = 0, end
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _singular_values(batch: Float64[np.ndarray, "b m n"]) -> Float64[np.ndarray, "b k"]:
    """In descending order, those of rounding error as zero."""
    wide = batch.shape[1] <= batch.shape[2]
    gram = batch @ batch.transpose(0, 2, 1) if wide else batch.transpose(0, 2, 1) @ batch
    found = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))[:, ::-1]
    return np.where(found > _NOISE * found[:, :1], found, 0.0)
