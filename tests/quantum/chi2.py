"""Whether counts can come from probabilities: Pearson's χ² test with rare outcomes pooled."""

import numpy as np
from scipy.stats import chisquare

SMALLEST = 5
"""The fewest counts that are expected in a bin."""
IMPOSSIBLE = 1e-12


def p_value(counts: np.ndarray, probabilities: np.ndarray) -> float:
    """The probability of a χ² as large or larger; 0 where an outcome was seen that cannot occur.

    Outcomes are pooled, the rarest first, until a bin expects `SMALLEST` counts; what is left joins the last bin.
    """
    if counts[probabilities < IMPOSSIBLE].any():
        return 0.0
    order = np.argsort(probabilities)
    expected, seen = counts.sum() * probabilities[order], counts[order]
    bins: list[list[float]] = [[0.0, 0.0]]
    for e, s in zip(expected, seen, strict=True):
        if bins[-1][0] >= SMALLEST:
            bins.append([0.0, 0.0])
        bins[-1][0] += e
        bins[-1][1] += s
    if len(bins) > 1 and bins[-1][0] < SMALLEST:
        e, s = bins.pop()
        bins[-1][0] += e
        bins[-1][1] += s
    if len(bins) == 1:
        return 1.0
    e, s = np.array(bins).T
    return float(chisquare(s, e * s.sum() / e.sum()).pvalue)
