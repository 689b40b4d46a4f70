"""The quantity S of Clauser, Horne, Shimony and Holt, which answers fixed beforehand cannot raise above 2."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from qfedfm.qkd.exchange import Half

SIGNS = np.array([[1, -1], [1, 1]])
"""Of the four correlations in S, by Alice's setting and Bob's."""
_LARGEST = 2 * math.sqrt(2)


@dataclass(frozen=True)
class Chsh:
    """An estimate of S.

    Args:
        value: S; at most 2 for bits that were fixed beforehand, at most 2√2 for any quantum state.
        error: its standard error, infinite where a pair of settings has fewer than two coincidences.
    """

    value: float
    error: float


def joint_counts(alice: Half, bob: Half, settings: tuple[int, int]) -> Int64[np.ndarray, "s t 2 2"]:
    """How often each pair of bits was found by Alice's setting and Bob's, over the pulses of which both have a record.

    Args:
        alice: her half.
        bob: his half.
        settings: numbers s and t of their settings.

    Returns:
        Counts by Alice's setting, Bob's setting, Alice's bit, Bob's bit.

    Example:
        >>> half = Half(np.array([3, 5]), np.array([0, 1], np.uint8), np.array([1, 1], np.uint8))
        >>> joint_counts(half, half, (2, 2))[1, 1].tolist()
        [[1, 0], [0, 1]]
    """
    _, a, b = np.intersect1d(alice.pulse, bob.pulse, assume_unique=True, return_indices=True)
    s, t = settings
    cell = ((alice.basis[a].astype(np.int64) * t + bob.basis[b]) * 2 + alice.bit[a]) * 2 + bob.bit[b]
    return np.bincount(cell, minlength=4 * s * t).reshape(s, t, 2, 2)


def chsh(counts: Int64[np.ndarray, "2 2 2 2"]) -> Chsh:
    """S = E₀₀ − E₀₁ + E₁₀ + E₁₁ with E = (N₌ − N≠)/N of each pair of settings.

    Clauser, Horne, Shimony & Holt, PRL 23, 880 (1969). The variance of S is Σ (1 − E²)/(N − 1), unbiased. A setting
    without coincidences counts as E = 0. Only pulses that both detected are in it, so a violation convinces those who
    trust that the detected pairs are a fair sample, and no more: a key without trust in the devices needs all pulses.

    Args:
        counts: as `joint_counts` gives them, two settings a party.

    Example:
        >>> counts = np.full((2, 2, 2, 2), 50)
        >>> counts[1, 1] = [[100, 0], [0, 100]]
        >>> chsh(counts).value
        1.0
    """
    total = counts.sum(axis=(2, 3))
    equal = counts[..., 0, 0] + counts[..., 1, 1]
    correlation = (2 * equal - total) / np.maximum(total, 1)
    variance = np.full((2, 2), np.inf)
    np.divide(1 - correlation**2, total - 1, out=variance, where=total > 1)
    return Chsh(float((SIGNS * correlation).sum()), math.sqrt(variance.sum()))


def werner_chsh(qber: float) -> float:
    """S = 2√2 (1 − 2Q) of a Werner state whose key bits differ with probability Q; above 2 for Q < .1464.

    Acín et al., PRL 98, 230501 (2007).

    Example:
        >>> round(werner_chsh(0.071492), 3)
        2.424
    """
    return _LARGEST * (1 - 2 * qber)
