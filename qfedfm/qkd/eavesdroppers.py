"""What an eavesdropper does to the pulses of a protocol in which Alice prepares and Bob measures."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from qfedfm.core.errors import ConfigError, nearest
from qfedfm.qkd.link import Link
from qfedfm.qkd.pulses import FOUR_STATES, ONE, Arriving, Pulses, Source

_BASES = {"Z": 0, "Breidbart": 1, "X": 2}


class Eavesdropper(ABC):
    """Has the fibre but neither party's laboratory; measures and stores perfectly and hears all announcements."""

    @abstractmethod
    def tap(self, pulses: Pulses, link: Link, noise: np.random.Generator) -> Arriving:
        """What she makes of pulses that leave Alice; called once for every chunk of an exchange.

        Raises:
            ConfigError: her attack does not fit the source.
        """


@dataclass(frozen=True)
class Nobody(Eavesdropper):
    """The undisturbed fibre."""

    def tap(self, pulses: Pulses, link: Link, noise: np.random.Generator) -> Arriving:
        ignorant = np.broadcast_to(np.float32(0.5), len(pulses))
        guess = np.broadcast_to(np.uint8(0), len(pulses))
        return Arriving(pulses.angle, pulses.photons, link.transmittance, guess, ignorant)


@dataclass(frozen=True)
class InterceptResend(Eavesdropper):
    """Measures a share f of the pulses at Alice's door and sends on what she saw, so that the rate does not change.

    On BB84 with f = 1 the sifted bits have a QBER of 1/4 in every basis of hers. Measuring in Z or X at random she
    knows half of them for sure (guesses 3/4 right, ½ bit of information each); in the Breidbart basis she guesses each
    with cos²(π/8) = .854 (.399 bit). On B92 in Z or X at random, Bob's conclusive share of detections grows from 1/4 to
    3/8, 1/3 of them wrong; she guesses 5/6.

    Args:
        share: f, of the pulses.
        basis: she measures in: ``random`` for Z or X with equal probability, ``Z``, ``X`` or ``Breidbart``.

    Raises:
        ConfigError: the share is not between 0 and 1, or the basis is unknown.

    Source: Bennett, Bessette, Brassard, Salvail & Smolin, J. Cryptology 5, 3 (1992); on pulses with several photons a
    simplification: she measures all in one basis and sends as many on, whose number says nothing to her.
    """

    share: float = 1.0
    basis: str = "random"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"intercept-resend of a share of {self.share}", "0 to 1")
        if self.basis not in ("random", *_BASES):
            raise ConfigError(f"basis {self.basis!r}", remedy=nearest(self.basis, ("random", *_BASES)))

    def tap(self, pulses: Pulses, link: Link, noise: np.random.Generator) -> Arriving:
        count = len(pulses)
        if self.basis == "random":
            hers = 2 * noise.integers(0, 2, count, np.uint8)
        else:
            hers = np.full(count, _BASES[self.basis], np.uint8)
        outcome = noise.random(count, np.float32) < ONE.astype(np.float32)[(pulses.angle - hers) & 7]
        measured = pulses.photons > 0
        if self.share < 1:
            measured &= noise.random(count) < self.share
        guess, chance = _posterior(pulses.source)
        seen = (3 * pulses.basis + hers) * 2 + outcome
        return Arriving(
            np.where(measured, hers + 4 * outcome.view(np.uint8), pulses.angle),
            pulses.photons,
            link.transmittance,
            np.where(measured, guess[seen], np.uint8(0)),
            np.where(measured, chance[seen], np.float32(0.5)),
        )


@dataclass(frozen=True)
class PhotonNumberSplitting(Eavesdropper):
    """Counts photons, keeps one of several until the bases are announced, and pays with the fibre's loss.

    The rest goes to Bob over a lossless fibre; she blocks single photons until the clicks are as many as before,
    1 − Σ P(n)(1 − η)ⁿ. Where the loss is so small that even with all of them the clicks would be fewer, she splits only
    a share of the pulses; where it is so large that no single photon need pass, she blocks pulses with several as well
    and knows every bit. The QBER stays, but the yields of different photon numbers do not: decoy states show her.

    Source: Lütkenhaus, arXiv quant-ph/9910093, Sec. IV; Brassard, Lütkenhaus, Mor & Sanders, PRL 85, 1330 (2000).

    Differs from the papers: she matches the clicks over all intensities, since she cannot tell them apart.
    """

    def tap(self, pulses: Pulses, link: Link, noise: np.random.Generator) -> Arriving:
        split, single, several = self.plan(pulses.source, link)
        many = pulses.photons > 1
        kept = many & _happens(noise, len(pulses), split)
        forwarded = np.where(many, _happens(noise, len(pulses), several), _happens(noise, len(pulses), single))
        return Arriving(
            pulses.angle,
            (pulses.photons - kept) * forwarded,
            link.receiver_transmittance,
            np.where(kept, pulses.bit, np.uint8(0)),
            _chance(kept, 1.0),
        )

    def plan(self, source: Source, link: Link) -> tuple[float, float, float]:
        """Shares of the pulses with several photons to split, and of those with one and with several to forward."""
        p, n = source.distribution, np.arange(len(source.distribution))
        wanted = float(p @ (1 - (1 - link.transmittance) ** n))
        missed = 1 - link.receiver_transmittance
        one = float(p[1]) * link.receiver_transmittance
        whole, split = (float(p[2:] @ (1 - missed ** (n[2:] - taken))) for taken in (0, 1))
        if whole > split and one + split < wanted:
            return min(1.0, (one + whole - wanted) / (whole - split)), 1.0, 1.0
        if split <= wanted:
            return 1.0, (wanted - split) / one if one > 0 else 0.0, 1.0
        return 1.0, 0.0, wanted / split


@dataclass(frozen=True)
class EntanglingProbe(Eavesdropper):
    """The symmetric individual attack: a probe is entangled with every photon and measured when the basis is known.

    Where the probe's states for the two bits overlap by cos x, Bob errs with D = (1 − cos x)/2 in both bases, and she
    guesses right with (1 + sin x)/2 = ½ + √(D(1 − D)), the most that is possible at this D. Her information,
    1 − h((1 + sin x)/2), meets Bob's, 1 − h(D), at D = (1 − 1/√2)/2 = .146.

    Args:
        angle: x, 0 (she learns nothing) to π/2 (she learns all and D = ½).

    Raises:
        ConfigError: the angle is out of range, or the source does not send the four states of BB84.

    Source: Fuchs, Gisin, Griffiths, Niu & Peres, arXiv quant-ph/9701039; Gisin, Ribordy, Tittel & Zbinden, arXiv
    quant-ph/0101098, Sec. VI E.

    Differs from the papers: in a pulse with several photons all err together, as if it were one system.
    """

    angle: float

    def __post_init__(self) -> None:
        if not 0 <= self.angle <= math.pi / 2:
            raise ConfigError(f"a probe of angle {self.angle}", "0 to π/2")

    @property
    def error_rate(self) -> float:
        """D."""
        return (1 - math.cos(self.angle)) / 2

    def tap(self, pulses: Pulses, link: Link, noise: np.random.Generator) -> Arriving:
        if pulses.source.states != FOUR_STATES:
            raise ConfigError("an entangling probe on other states than BB84's", "BB84 or its decoy-state form")
        chance = (1 + math.sin(self.angle)) / 2
        probed = pulses.photons > 0
        disturbed = _happens(noise, len(pulses), self.error_rate)
        misled = probed & _happens(noise, len(pulses), 1 - chance)
        return Arriving(
            (pulses.angle + 4 * disturbed.view(np.uint8)) & 7,
            pulses.photons,
            link.transmittance,
            np.where(probed, pulses.bit ^ misled, np.uint8(0)),
            _chance(probed, chance),
        )


@dataclass(frozen=True)
class UnambiguousDiscrimination(Eavesdropper):
    """Tells the two states of B92 apart without error or not at all, and blocks what she could not tell.

    It succeeds with q = 1 − |⟨a|b⟩| = 1 − 1/√2 = .293. What she knows travels on over a lossless fibre, so with a fibre
    that loses at least 1 − q = .707 she knows every bit and leaves no trace. With a transmittance t above q she attacks
    only the share (1 − t)/(1 − q), lets the others pass, and knows q(1 − t)/((1 − q)t) of the bits.

    Raises:
        ConfigError: the source sends more than two states, which are not independent and cannot be told apart so.

    Source: Ivanović, Phys. Lett. A 123, 257 (1987); Bennett, PRL 68, 3121 (1992).
    """

    def tap(self, pulses: Pulses, link: Link, noise: np.random.Generator) -> Arriving:
        if len(pulses.source.states) > 1:
            raise ConfigError("unambiguous discrimination of four states of a qubit", "a source of two, as in B92")
        a, b = pulses.source.states[0]
        success, t = 1 - abs(math.cos((a - b) * math.pi / 8)), link.channel_transmittance
        attacked = _happens(noise, len(pulses), min(1.0, (1 - t) / (1 - success)))
        told = attacked & _happens(noise, len(pulses), success)
        forwarded = ~attacked | (told & _happens(noise, len(pulses), min(1.0, t / success)))
        return Arriving(
            pulses.angle,
            pulses.photons * forwarded,
            link.receiver_transmittance,
            np.where(told, pulses.bit, np.uint8(0)),
            _chance(told, 1.0),
        )


def _happens(noise: np.random.Generator, count: int, probability: float) -> Bool[np.ndarray, " n"]:
    return noise.random(count) < probability


def _chance(knows: Bool[np.ndarray, " n"], chance: float) -> Float32[np.ndarray, " n"]:
    return np.where(knows, np.float32(chance), np.float32(0.5))


def _posterior(source: Source) -> tuple[UInt8[np.ndarray, " k"], Float32[np.ndarray, " k"]]:
    """By Bayes' rule the likelier bit and its probability, at 6·(Alice's basis) + 2·(hers) + outcome."""
    states = np.array(source.states)
    one = ONE[(states[:, None] - np.arange(3)[:, None]) & 7]  # [Alice's basis, hers, bit]
    likelihood = np.stack((1 - one, one), axis=2)  # [Alice's basis, hers, outcome, bit]
    probability = likelihood / likelihood.sum(axis=-1, keepdims=True)
    guess, chance = probability.argmax(axis=-1), probability.max(axis=-1)
    return guess.reshape(-1).astype(np.uint8), chance.reshape(-1).astype(np.float32)
