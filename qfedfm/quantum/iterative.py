"""Iterative amplitude estimation: a confidence interval that is narrowed until it is as short as was asked for."""

from __future__ import annotations

import math

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.estimation import Estimate, Queries, Sampler

_RATIO = 2
"""By how much 4m + 2 grows at least from one power to the next."""


def iterative(sample: Sampler, error: float, key: Key, confidence: float = 0.95) -> Estimate:
    """The middle of an interval for a = sin²θ that is at most 2·``error`` long and covers a with ``confidence``.

    Grinko, Gacon, Zoufal & Woerner, npj Quantum Information 7, 52 (2021), arXiv 1912.05559, algorithm 1. A round takes
    the largest power m for which all of [θₗ, θᵤ], times 4m + 2, lies in one half of the circle, where a Clopper–Pearson
    interval of sin²((2m + 1)θ) gives a shorter one of θ; shots at the same power are pooled. Queries grow as 1/error.

    Differs from the paper: the standard error that is given is a quarter of the interval.

    Args:
        sample: of `measured` or `drawn`, with shots.
        error: ε, above 0 and at most ½.
        key: folded by round.
        confidence: 1 − α.

    Raises:
        ConfigError: a number out of range, or a sampler without shots.
    """
    if not (0 < error <= 0.5 and 0 < confidence < 1):
        raise ConfigError(f"error = {error}, confidence = {confidence}", "above 0 to 0.5, and between 0 and 1")
    rounds = int(math.log(_RATIO * math.pi / 8 / error, _RATIO)) + 1
    alpha = (1 - confidence) / max(1, rounds)
    low, high = 0.0, 0.25  # θ in turns
    power, upper, cost = 0, True, Queries()
    hits = shots = 0
    while high - low > error / math.pi:
        following, upper = _next_power(power, upper, low, high)
        hits, shots = (hits, shots) if following == power else (0, 0)
        power = following
        seen = sample(power, key.fold("round", cost.circuits))
        if not seen.shots:
            raise ConfigError("an iterative estimate of exact probabilities", "an executor with shots")
        cost += seen.queries
        hits, shots = hits + round(seen.share * seen.shots), shots + seen.shots
        low, high = _narrowed(low, high, power, _clopper_pearson(hits, shots, alpha), upper=upper)
    ends = math.sin(2 * math.pi * low) ** 2, math.sin(2 * math.pi * high) ** 2
    return Estimate((ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 4, ends, cost)


def _next_power(power: int, upper: bool, low: float, high: float) -> tuple[int, bool]:
    """The largest m for which [low, high], times 4m + 2, lies in one half of the circle; whether it is the upper."""
    most = int(1 / (2 * (high - low)))
    factor = most - (most - 2) % 4
    while factor >= _RATIO * (4 * power + 2):
        first = factor * low % 1
        last = first + factor * (high - low)
        if last <= 0.5 or (first >= 0.5 and last <= 1):
            return (factor - 2) // 4, last <= 0.5
        factor -= 4
    return power, upper


def _narrowed(low: float, high: float, power: int, shares: tuple[float, float], *, upper: bool) -> tuple[float, float]:
    """The part of [low, high] where sin²((2m + 1)θ) is within the two shares."""
    factor = 4 * power + 2
    first, last = (math.acos(1 - 2 * share) / (2 * math.pi) for share in shares)
    first, last = (first, last) if upper else (1 - last, 1 - first)
    whole = math.floor(factor * low + 1e-9)
    return max(low, (whole + first) / factor), min(high, (whole + last) / factor)


def _clopper_pearson(hits: int, shots: int, alpha: float) -> tuple[float, float]:
    from scipy.stats import beta

    low = beta.ppf(alpha / 2, hits, shots - hits + 1) if hits else 0.0
    high = beta.ppf(1 - alpha / 2, hits + 1, shots - hits) if hits < shots else 1.0
    return float(low), float(high)
