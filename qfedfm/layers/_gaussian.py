"""A uniform quantiser with entropy coding on Gaussian numbers: rate, distortion, and where a cell's mean lies."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float64

_OCTAVES = np.arange(-10.0, 3.01, 0.125)
"""log₂ of the steps in the table, in units of the standard deviation."""
_WIDEST = 9.0
"""Cells further out than so many standard deviations are left out."""


def _density(z: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))


def _cells(step: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and means of the cells [(q − ½)Δ, (q + ½)Δ] for q = 0, 1, … of a standard normal number."""
    from scipy.special import ndtr

    edges = (np.arange(int(_WIDEST / step) + 2) - 0.5) * step
    upper = ndtr(-edges)  # tails keep their precision
    p = np.maximum(upper[:-1] - upper[1:], 1e-300)
    means = (_density(edges[:-1]) - _density(edges[1:])) / p
    means[0] = 0.0
    return p, np.clip(means, edges[:-1].clip(0), edges[1:])


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray]:
    rates, distortions = [], []
    for octave in _OCTAVES.tolist():
        p, means = _cells(2.0**octave)
        both = np.concatenate([p, p[1:]])
        rates.append(float(-(both @ np.log2(both))))
        distortions.append(1.0 - float(p[1:] @ means[1:] ** 2 * 2))
    return np.array(rates), np.array(distortions)


def rate(step: Float64[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
    """Bits a number, for a step in units of the standard deviation."""
    return np.asarray(np.interp(np.log2(np.maximum(step, 1e-12)), _OCTAVES, _table()[0]))


def distortion(step: Float64[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
    """Mean squared error over the variance with the cells' means, once they are scaled to be unbiased: D/(1 − D)."""
    found = np.interp(np.log2(np.maximum(step, 1e-12)), _OCTAVES, _table()[1])
    return np.asarray(found / np.maximum(1 - found, 1e-9))


@lru_cache(maxsize=64)
def means(step: float) -> Float64[np.ndarray, " k"]:
    """The means of the cells q = 0, 1, … in units of the standard deviation; beyond the last, the middle of the cell.

    Example:
        >>> means(1.0)[:2].round(3).tolist()
        [0.0, 0.921]
    """
    return _cells(step)[1]
