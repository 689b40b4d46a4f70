"""Means over seeds, paired differences, and the smallest difference that a study could have seen."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qfedfm.core.errors import DataError

LEVEL = 0.95
"""Confidence level of every interval."""
POWER = 0.8
"""Probability with which a detectable difference is detected."""
MARGIN = 0.01
"""The equivalence margin of accuracies, the same for every study: one percentage point."""


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds with its interval.

    Args:
        mean: the sample mean.
        interval: the two ends, or None where a t-interval is not defined: one value, or values that do not vary.
        n: how many values.
        deviation: the sample standard deviation s (n − 1 in the denominator); None for one value, 0 without variation.
        detectable: see `detectable`; None where the interval is.
    """

    mean: float
    interval: tuple[float, float] | None
    n: int
    deviation: float | None
    detectable: float | None


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """x̄ ± t_{(1+level)/2, n−1} · s / √n (Student 1908), two-sided.

    Args:
        values: one number a seed, in any unit; the result has the same unit.
        level: the confidence level.

    Raises:
        DataError: there is no value, or one is not finite.

    Example:
        >>> found = estimate([1.0, 2.0, 3.0])
        >>> found.mean, [round(end, 3) for end in found.interval]
        (2.0, [-0.484, 4.484])
    """
    x = _finite(values)
    return _estimate(x, float(np.abs(x).max()), level)


def paired(a: Sequence[float], b: Sequence[float], level: float = LEVEL) -> Estimate:
    """The mean of aᵢ − bᵢ and its t-interval: what is common to both arms of seed i drops out.

    Args:
        a: one number a seed.
        b: the other arm's numbers for the same seeds, in the same order.
        level: the confidence level.

    Raises:
        DataError: the lengths differ, there is no value, or one is not finite.
    """
    x, y = _finite(a), _finite(b)
    if len(x) != len(y):
        raise DataError(
            f"{len(x)} values against {len(y)}", "a pair for each seed", "compare only seeds that both have"
        )
    return _estimate(x - y, float(max(np.abs(x).max(), np.abs(y).max())), level)


def detectable(deviation: float, n: int, alpha: float = 1 - LEVEL, power: float = POWER) -> float:
    """The smallest true mean difference δ that a two-sided paired t-test of level α finds with the given power.

    δ solves P(|T| > t*) = power for T noncentral t with n − 1 degrees of freedom and noncentrality δ√n/s, and
    t* = t_{1−α/2, n−1}. This is exact for normal differences whose standard deviation is s; s is itself estimated, so
    with few seeds the figure is rough. The usual shortcut (t_{1−α/2, n−1} + t_{power, n−1}) · s / √n is close to it
    from about five seeds on.

    Args:
        deviation: s, the standard deviation of the differences.
        n: the number of pairs, at least 2.
        alpha: the level of the test.
        power: between α and 1.

    Raises:
        DataError: n below 2, a deviation that is not positive, or a power outside (α, 1).

    Example:
        >>> detectable(1.0, 34) <= 0.5 < detectable(1.0, 33)  # half a standard deviation takes 34 pairs
        True
    """
    if n < 2 or not (math.isfinite(deviation) and deviation > 0):
        raise DataError(f"{n} pairs with standard deviation {deviation}", "at least 2 pairs that vary")
    if not 0 < alpha < power < 1:
        raise DataError(f"level {alpha} and power {power}", "0 < level < power < 1")
    return _detectable_shift(n, alpha, power) * deviation / math.sqrt(n)


def equivalent(found: Estimate, margin: float = MARGIN, alpha: float = 1 - LEVEL) -> bool:
    """Whether a true mean difference of ``margin`` or more, in either direction, is rejected at level α.

    Two one-sided t-tests (Schuirmann, J. Pharmacokinet. Biopharm. 15, 657, 1987): the 1 − 2α interval
    x̄ ± t_{1−α, n−1} · s / √n lies between −margin and margin. One value says nothing; values that do not vary, what
    they say.

    Args:
        found: the differences.
        margin: in their unit.
        alpha: the level of each of the two tests.

    Example:
        >>> equivalent(estimate([0.001, -0.002, 0.003])), equivalent(estimate([0.03, -0.02]))
        (True, False)
    """
    from scipy.special import stdtrit

    if found.deviation is None:
        return False
    half = float(stdtrit(found.n - 1, 1 - alpha)) * found.deviation / math.sqrt(found.n)
    return abs(found.mean) + half < margin


@functools.lru_cache(maxsize=64)
def _detectable_shift(n: int, alpha: float, power: float) -> float:
    """The noncentrality that is found with the given power; the same for all differences of a comparison."""
    from scipy.optimize import brentq
    from scipy.special import gammaincinv, ndtr, stdtrit

    degrees = n - 1
    critical = float(stdtrit(degrees, 1 - alpha / 2))
    # Over the quantiles q of s/σ the power is an integral of normal tails; noncentral t routines fail for few seeds.
    nodes, mass = np.polynomial.legendre.leggauss(400)
    ratio = np.sqrt(2 * gammaincinv(degrees / 2, (nodes + 1) / 2) / degrees)

    def shortfall(shift: float) -> float:
        tails = ndtr(shift - critical * ratio) + ndtr(-shift - critical * ratio)
        return float(mass @ tails) / 2 - power

    high = critical
    while shortfall(high) < 0:
        high *= 2
    return float(brentq(shortfall, 0.0, high, xtol=1e-12))


def _estimate(x: np.ndarray, scale: float, level: float) -> Estimate:
    from scipy.special import stdtrit

    n, mean = len(x), float(x.mean())
    if n == 1:
        return Estimate(mean, None, n, None, None)
    # Equal values leave a deviation of a few roundings of what they were computed from.
    if float(np.ptp(x)) <= 16 * np.finfo(np.float64).eps * scale:
        return Estimate(mean, None, n, 0.0, None)
    deviation = float(x.std(ddof=1))
    half = float(stdtrit(n - 1, (1 + level) / 2)) * deviation / math.sqrt(n)
    return Estimate(mean, (mean - half, mean + half), n, deviation, detectable(deviation, n, 1 - level))


def _finite(values: Sequence[float]) -> np.ndarray:
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise DataError(f"the values {list(values)!r}", "at least one, all finite")
    return x
