"""What a link leads the parties to expect before the first pulse: how often both get a bit, and how often they differ.

All of it is exact for threshold detectors whose double clicks are fair coins, but for dead time. With a = ±1 for a bit
and 0 for none or a double click, a = [detector 1 silent] − [detector 0 silent], so that correlations follow from the
probabilities that detectors stay silent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from qfedfm.qkd.link import Link
from qfedfm.qkd.pairs import PairSource


@dataclass(frozen=True)
class Expected:
    """Of a pulse.

    Args:
        clicks: probability that there is a bit, on both sides where both measure.
        qber: probability that it is wrong if bases or angles are equal; 1/2 where nothing ever clicks.
    """

    clicks: float
    qber: float


def single_photons(link: Link) -> Expected:
    """Of pulses of one photon: p = 1 − (1 − Y₀)(1 − η) and p (1 − 2E) = (1 − p_d) η (1 − 2 e_d).

    Example:
        >>> found = single_photons(Link(efficiency=0.1, misalignment=0.02))
        >>> round(found.clicks, 9), round(found.qber, 9)
        (0.1, 0.02)
    """
    clicks = 1 - (1 - link.background) * (1 - link.transmittance)
    right = (1 - link.dark_counts) * link.transmittance * (1 - 2 * link.misalignment)
    return _of(clicks, right, link.live(clicks) / clicks if clicks else 1.0)


def weak_pulses(link: Link, mean_photons: float) -> Expected:
    """Q_μ and E_μ of `Link`, before dead time, which depends on the pulses of all intensities."""
    clicks = link.gain(mean_photons)
    return Expected(clicks, link.error_rate(mean_photons) if clicks else 0.5)


def pairs(link: Link, source: PairSource, cosine: float = 1.0) -> Expected:
    """Coincidences p, and their errors at angles of the given cosine on the Bloch sphere.

    With η_A, η_B of the arms, c = V (1 − 2 e_d)² cos θ and Poissonian pairs p = 1 − (1 − Y₀)(e^{−μη_A} + e^{−μη_B}) +
    (1 − Y₀)² e^{−μ(η_A + η_B − η_A η_B)} and p (1 − 2E) = 2 (1 − p_d)² e^{−μ(η_A + η_B)/2} (e^{μ η_A η_B (1 + c)/4} −
    e^{μ η_A η_B (1 − c)/4}). With exactly one pair 1 − μx stands in place of e^{−μx}, μ = 1.

    Dead time counts as if the clicks of the two sides were independent.

    Example:
        >>> round(pairs(Link(misalignment=0.1), PairSource(mean_pairs=None, visibility=1.0)).qber, 9)
        0.18
    """
    arms = source.arms(link)
    first, second = (arm.transmittance for arm in arms)
    silent = 1 - link.background
    alone = [silent * _none(source, eta) for eta in (first, second)]
    clicks = 1 - sum(alone) + silent**2 * _none(source, first + second - first * second)
    contrast = source.visibility * (1 - 2 * link.misalignment) ** 2 * cosine
    either = ((first + second) / 2 - first * second * (1 + sign * contrast) / 4 for sign in (1, -1))
    equal, other = (_none(source, eta) for eta in either)
    right = 2 * (1 - link.dark_counts) ** 2 * (equal - other)
    live = math.prod(link.live(1 - none) / (1 - none) if none < 1 else 1.0 for none in alone)
    return _of(clicks, right, live)


def _none(source: PairSource, trigger: float) -> float:
    """Probability that no pair of a pulse triggers what each triggers with that probability."""
    return 1 - trigger if source.mean_pairs is None else math.exp(-source.mean_pairs * trigger)


def _of(clicks: float, right: float, live: float) -> Expected:
    return Expected(clicks * live, min(max((1 - right / clicks) / 2, 0.0), 0.5) if clicks > 0 else 0.5)
