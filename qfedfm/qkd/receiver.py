"""Bob's receiver: which detectors click, and when they are off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.link import Link
from qfedfm.qkd.pulses import ONE, Arriving

_RARE = 0.02
"""Below this probability drawing which ones happen is faster than asking all."""


@dataclass(frozen=True, eq=False, repr=False)
class Clicks:
    """Clicks of a run of pulses.

    Args:
        pulse: numbers from the run's beginning, ascending.
        bit: which detector; a coin of Bob's where both did.
        basis: he had chosen.
        dead: pulses after the run's end for which the detectors are still off.
    """

    pulse: Int64[np.ndarray, " m"]
    bit: UInt8[np.ndarray, " m"]
    basis: UInt8[np.ndarray, " m"]
    dead: int


def detect(
    arriving: Arriving,
    basis: UInt8[np.ndarray, " n"],
    link: Link,
    entropy: Entropy,
    noise: np.random.Generator,
    dead: int,
) -> Clicks:
    """The clicks of pulses measured in Bob's bases.

    A photon whose state is the angle θ away from the basis's outcome 0 goes to detector 1 with probability
    p = (1 − cos θ)/2, or p(1 − e_d) + (1 − p) e_d with misalignment; every photon goes its own way.

    Args:
        arriving: pulses at the beginning of the last stretch to the receiver.
        basis: Bob's, 0 for Z and 1 for X.
        link: its detectors' numbers.
        entropy: of the coins for double clicks, since they can become key.
        noise: of the physics.
        dead: first pulses during which the detectors are off.
    """
    photons = np.repeat(np.arange(len(basis)), arriving.photons)
    pulse = photons[_which(noise, len(photons), arriving.transmittance)]
    return click(pulse, (arriving.angle[pulse] - 2 * basis[pulse]) & 7, basis, link, entropy, noise, dead)


def click(
    pulse: Int64[np.ndarray, " k"],
    angle: UInt8[np.ndarray, " k"],
    basis: UInt8[np.ndarray, " n"],
    link: Link,
    entropy: Entropy,
    noise: np.random.Generator,
    dead: int,
) -> Clicks:
    """The clicks of photons that reach the detectors, as `detect` describes them.

    Args:
        pulse: of each photon, in any order.
        angle: θ of each photon, in eighths of a turn.
        basis: of each pulse, in the party's own numbering.
        link: its detectors' numbers.
        entropy: of the coins for double clicks, since they can become key.
        noise: of the physics.
        dead: first pulses during which the detectors are off.
    """
    fired = _fired(pulse, angle, len(basis), link, noise)
    zero, one = fired[0::2], fired[1::2]
    clicked, dead = live(np.flatnonzero(zero | one), len(basis), link.dead_time, dead)
    bit = one[clicked].astype(np.uint8)
    both = np.flatnonzero(zero[clicked] & one[clicked])
    bit[both] = entropy.bits(len(both))
    return Clicks(clicked, bit, basis[clicked], dead)


def live(
    clicked: Int64[np.ndarray, " k"], count: int, dead_time: int, dead: int
) -> tuple[Int64[np.ndarray, " m"], int]:
    """The clicks that remain where each turns the detectors off for a while, and does so only if they are on.

    Args:
        clicked: numbers of the pulses on which detectors would click, ascending.
        count: of all pulses in the run.
        dead_time: pulses after a click for which nothing clicks.
        dead: first pulses of the run for which nothing clicks.

    Returns:
        The numbers that remain, and the pulses after the run for which the detectors are still off.

    Example:
        >>> live(np.array([0, 1, 3, 4, 5]), count=6, dead_time=2, dead=0)
        (array([0, 3]), 0)
    """
    if dead_time == 0:
        return clicked, 0
    following = np.searchsorted(clicked, clicked + dead_time, side="right").tolist()
    at, kept = int(np.searchsorted(clicked, dead)), []
    while at < len(clicked):
        kept.append(at)
        at = following[at]
    if not kept:
        return clicked[:0], max(0, dead - count)
    return clicked[kept], max(0, int(clicked[kept[-1]]) + dead_time + 1 - count)


def _fired(
    pulse: Int64[np.ndarray, " k"], angle: UInt8[np.ndarray, " k"], count: int, link: Link, noise: np.random.Generator
) -> Bool[np.ndarray, " m"]:
    """Whether detectors 0 and 1 click, by turns, for each pulse."""
    one = ONE + link.misalignment * (1 - 2 * ONE)
    outcome = noise.random(len(pulse)) < one[angle]
    fired = np.zeros(2 * count, bool)
    fired[2 * pulse + outcome] = True
    fired[_which(noise, len(fired), link.dark_counts)] = True
    return fired


def _which(noise: np.random.Generator, count: int, probability: float) -> Int64[np.ndarray, " k"]:
    """Which of ``count`` independent events of one probability happen, in no order."""
    if probability >= _RARE:
        return np.flatnonzero(noise.random(count) < probability)
    return noise.choice(count, noise.binomial(count, probability), replace=False, shuffle=False)
