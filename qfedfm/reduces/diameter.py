"""The subset with the smallest diameter, by a search over thresholds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float64

from qfedfm.core.key import Key
from qfedfm.quantum.qaoa import Quadratic
from qfedfm.reduces.choice import Choice
from qfedfm.reduces.cost import Cost

Choose = Callable[[Quadratic, int, Key], Choice]


def narrowest(squares: Float64[np.ndarray, "n n"], size: int, choose: Choose, key: Key) -> Choice:
    """``size`` of n points whose largest distance max_{i,j ∈ S} D_ij is small: minimum-diameter averaging's subset.

    A diameter is no quadratic function of the bits, but whether one is at most t is a quadratic problem:
    Σ_{i<j} [D_ij > t] x_i x_j counts the pairs that are too far apart, and 0 means that there are none. A binary search
    over the distances asks ⌈log₂⌉ of their number of such questions. With an exact ``choose`` the result is the
    minimum; with a heuristic that may miss a 0 it is at least that.

    Args:
        squares: squared distances, 0 on the diagonal.
        size: k ≥ 2.
        choose: bits of which k are set, with a small value.
        key: folded for each question.
    """
    distances = np.unique(squares[np.triu_indices(len(squares), 1)])
    best, cost, asked = np.arange(len(squares)) < size, Cost(), 0
    too_narrow, wide = -1, _place(distances, squares, best)
    while wide - too_narrow > 1:
        middle = (too_narrow + wide) // 2
        apart = Quadratic((squares > distances[middle]) / 2.0)
        found = choose(apart, size, key.fold("threshold", middle))
        cost, asked = cost + found.cost, asked + 1
        if apart.value(found.bits.astype(np.float64)) == 0:
            best, wide = found.bits, _place(distances, squares, found.bits)
        else:
            too_narrow = middle
    named = {"diameter": float(np.sqrt(distances[wide])), "thresholds": float(asked)}
    return Choice(best, cost, named)


def _place(
    distances: Float64[np.ndarray, " m"], squares: Float64[np.ndarray, "n n"], bits: Bool[np.ndarray, " n"]
) -> int:
    """Where the diameter of a subset is among the distances."""
    return int(np.searchsorted(distances, squares[np.ix_(bits, bits)].max()))
