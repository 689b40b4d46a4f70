"""The quantiser of least squared error for the standard normal distribution (Lloyd, 1957; Max, 1960)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64, Int64, Integer, UInt8

_REACH, _CELLS = 8.0, 128  # cells in a unit: each holds one boundary at most, up to 8 bits
_LLOYD, _NEWTON = 5, 10


@dataclass(frozen=True)
class LloydMax:
    """Centroids c, the midpoints between them, and the mean squared error.

    Args:
        centroids: in ascending order, symmetric about 0, each the mean of the normal distribution over its cell.
        error: E(z − Q(z))², by which E Q(z)² = E z Q(z) = 1 − error.

    Example:
        >>> quantiser = lloyd_max(2)
        >>> quantiser.centroids.round(4).tolist(), round(quantiser.error, 4)
        ([-1.5104, -0.4528, 0.4528, 1.5104], 0.1175)
    """

    centroids: Float64[np.ndarray, " k"]
    error: float
    _values: Float32[np.ndarray, " k"]
    _boundaries: Float32[np.ndarray, " k"]
    _below: Int64[np.ndarray, " m"]

    def nearest(self, z: Float32[np.ndarray, " d"]) -> UInt8[np.ndarray, " d"]:
        """The number of the centroid nearest to each coordinate; of two as near, the lower.

        A table says which centroid the left end of a cell belongs to; at most one boundary lies within the cell.
        """
        found = np.empty(z.shape, np.uint8)
        for part in _spans(z.size):
            places = z[part] * np.float32(_CELLS) + np.float32(_REACH * _CELLS)
            below = self._below.take(places.astype(np.int64), mode="clip")
            found[part] = below + (z[part] > self._boundaries.take(below))
        return found

    def values(self, numbers: Integer[np.ndarray, " d"]) -> Float32[np.ndarray, " d"]:
        """The centroids of these numbers."""
        found = np.empty(numbers.shape, np.float32)
        for part in _spans(numbers.size):
            found[part] = self._values.take(numbers[part])
        return found


def _spans(size: int) -> list[slice]:
    """A few coordinates at a time: fresh memory for all of them costs more than the arithmetic."""
    return [slice(start, start + 2**15) for start in range(0, size, 2**15)]


@lru_cache
def lloyd_max(bits: int) -> LloydMax:
    """The quantiser of 2^bits centroids, for 1 to 8 bits."""
    positive = _centroids(2 ** (bits - 1))
    centroids = np.concatenate([-positive[::-1], positive])
    boundaries = (centroids[1:] + centroids[:-1]) / 2
    mass = _mass(np.concatenate([[-np.inf], boundaries, [np.inf]]))
    left_ends = np.arange(-_REACH * _CELLS, _REACH * _CELLS) / _CELLS
    return LloydMax(
        centroids,
        float(1 - mass @ centroids**2),
        centroids.astype(np.float32),
        np.append(boundaries, np.inf).astype(np.float32),
        np.searchsorted(boundaries, left_ends),
    )


def _mass(ends: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " m"]:
    """Of the normal distribution between these ends; by the upper tail, which is precise far from 0."""
    from scipy.special import ndtr

    return np.asarray(-np.diff(ndtr(-ends)))


def _density(x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return np.asarray(np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))


def _centroids(count: int) -> Float64[np.ndarray, " n"]:
    """The positive centroids, from c = E(z | the cell of c): Lloyd's steps, then Newton's, whose Jacobian is banded.

    The start is the quantiles of a normal distribution of variance 3, the best density of many centroids (Panter &
    Dite, 1951). Lloyd's steps alone would take thousands at 8 bits, Newton's alone diverge.
    """
    from scipy.linalg import solve_banded
    from scipy.special import ndtri

    c = np.sqrt(3) * ndtri((np.arange(count) + 0.5) / (2 * count) + 0.5)
    for step in range(_LLOYD + _NEWTON):
        ends = np.concatenate([[0.0], (c[1:] + c[:-1]) / 2, [np.inf]])
        mass, density = _mass(ends), _density(ends)
        residual = c * mass + np.diff(density)
        if step < _LLOYD:
            c = c - residual / mass
            continue
        slope = density[1:-1] * np.diff(c) / 4
        bands = np.zeros((3, count))
        bands[0, 1:] = bands[2, :-1] = -slope
        bands[1] = mass
        bands[1, :-1] -= slope
        bands[1, 1:] -= slope
        c = c - solve_banded((1, 1), bands, residual)
    return np.asarray(c)
