"""A few numbers that stand for a long update: a signed count sketch, which keeps inner products on average."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64

from qfedfm.core.key import Key


def count_sketch(X: Float32[np.ndarray, "n d"], size: int, key: Key) -> Float64[np.ndarray, "n m"]:
    """y_b = Σ_{i: h(i) = b} σ(i) x_i with a random bucket h(i) of m and a random sign σ(i) for each coordinate.

    The same h and σ for all rows, from the key. Inner products are kept on average, with the variance

        Var⟨Sx, Sy⟩ = (Σ_{i≠j} x_i² y_j² + x_i y_i x_j y_j) / m ≤ (‖x‖² ‖y‖² + ⟨x, y⟩²) / m,

    so that by Chebyshev's inequality a cosine is wrong by more than ε with probability at most 2/(m ε²): the
    Johnson–Lindenstrauss error falls as 1/√m, whatever d is. After the sketches are normalised, the cosine c between
    two of them has the standard deviation (1 − c²)/√m, where no few coordinates hold most of an update, and unrelated
    updates have E[c²] = 1/m. A row of at most m coordinates is only filled up with zeros, and nothing is lost.

    Charikar, Chen & Farach-Colton, ICALP 2002; Weinberger et al., ICML 2009, arXiv 0902.2206, lemma 2 (the variance).
    Who knows the key can make an update whose sketch says nothing about it.

    Args:
        X: n × d updates; not changed.
        size: m, at least 1.
        key: of h and σ; fold the round into it, so that no round repeats another's errors.

    Example:
        >>> count_sketch(np.array([[1, -2]], np.float32), 3, Key.of(0)).tolist()
        [[1.0, -2.0, 0.0]]
    """
    return CountSketch(X.shape[1], size, key)(X)


class CountSketch:
    """The h and σ of `count_sketch`, drawn once for updates that come one after the other.

    Args:
        d: coordinates of an update.
        size: m, at least 1.
        key: of h and σ. Sketches of different rounds can be compared where their keys are equal.
    """

    def __init__(self, d: int, size: int, key: Key) -> None:
        self._size, self._short = size, d <= size
        rng, length = key.numpy(), 0 if self._short else d
        self._buckets = rng.integers(size, size=length)
        self._signs = rng.choice(np.array([-1.0, 1.0]), size=length)

    def __call__(self, X: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, "n m"]:
        """A sketch for each row; X is not changed."""
        if self._short:
            return np.pad(X.astype(np.float64), ((0, 0), (0, self._size - X.shape[1])))
        return np.stack([np.bincount(self._buckets, weights=self._signs * row, minlength=self._size) for row in X])
