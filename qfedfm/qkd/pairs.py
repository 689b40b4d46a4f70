"""The quantum phase of a protocol in which a source sends both parties halves of entangled pairs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64, UInt8

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.eavesdroppers import Eavesdropper
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.exchange import Exchange, Half
from qfedfm.qkd.link import Link
from qfedfm.qkd.pulses import Arriving, Pulses, Source, choices
from qfedfm.qkd.receiver import Clicks, click

_CHUNK = 2**20
"""Pulses at a time: beyond the parties' records, memory does not grow with the number of pulses."""

_MOST_PAIRS = 10.0


@dataclass(frozen=True)
class PairSource:
    """A source of pairs in the state V|Φ⁺⟩⟨Φ⁺| + (1 − V)·1/4.

    Werner, PRA 40, 4277 (1989). At analysers whose directions on the Bloch sphere are the angle θ apart, in its plane
    of |0⟩ and |+⟩, the bits are equal with probability (1 + V cos θ)/2, and each alone is fair. The number of pairs in
    a pulse is Poissonian and they know nothing of each other, as from parametric down-conversion into many modes.

    Args:
        mean_pairs: μ, pairs a pulse; None for exactly one.
        visibility: V.
        position: where on the link it stands, from 0 at Alice's to 1 at Bob's.

    Raises:
        ConfigError: μ is not above 0 and at most 10, or V or the position is not between 0 and 1.

    Differs from Ma, Fung & Lo, arXiv quant-ph/0703122: they emit into two modes, where the number has a thermal
    distribution and the pairs of a pulse are alike.
    """

    mean_pairs: float | None = 0.05
    visibility: float = 0.98
    position: float = 0.5

    def __post_init__(self) -> None:
        if self.mean_pairs is not None and not 0 < self.mean_pairs <= _MOST_PAIRS:
            raise ConfigError(f"a source with mean_pairs {self.mean_pairs}", f"above 0 and at most {_MOST_PAIRS:g}")
        for name in ("visibility", "position"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"a source with {name} {getattr(self, name)}", "0 to 1")

    def arms(self, link: Link) -> tuple[Link, Link]:
        """Alice's and Bob's: the link's fibre as it is divided by the source, at either end the link's receiver.

        Example:
            >>> [arm.distance for arm in PairSource(position=0.25).arms(Link(distance=40.0))]
            [10.0, 30.0]
        """
        alice = self.position * link.distance
        return replace(link, distance=alice), replace(link, distance=link.distance - alice)

    def emitted(self, pulses: int, noise: np.random.Generator) -> Int64[np.ndarray, " k"]:
        """The pulse of each pair, in no order.

        A Poissonian number in all with a pulse at random for each is a Poissonian number in each pulse.
        """
        if self.mean_pairs is None:
            return np.arange(pulses)
        return noise.integers(pulses, size=noise.poisson(self.mean_pairs * pulses))


@dataclass(frozen=True)
class Analysers:
    """What the parties may measure, as known to everyone; angles in eighths of a turn of the Bloch sphere from |0⟩.

    Args:
        alice: angle of each of her settings; outcome 0 is the state at that angle.
        bob: angle of each of his.
        shares: probability of each setting, the same for both parties.

    Raises:
        ConfigError: probabilities that are not positive or do not sum to 1.
    """

    alice: tuple[int, ...]
    bob: tuple[int, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        self.source  # noqa: B018 (refuses the probabilities)

    @property
    def source(self) -> Source:
        """The states that Bob's photons are in once Alice has measured hers: what an eavesdropper on his arm meets."""
        return Source(tuple((angle, (angle + 4) % 8) for angle in self.alice), self.shares)


def distribute(
    pulses: int, source: PairSource, analysers: Analysers, link: Link, eavesdropper: Eavesdropper, entropy: Entropy
) -> Exchange:
    """Emits pairs and measures them; either half has a record of every pulse in which that party's detectors clicked.

    Alice's outcome at the angle α leaves Bob's photon of |Φ⁺⟩ at α or opposite, so that his arm is simulated as that
    of a protocol in which she prepares (Bennett, Brassard & Mermin 1992); who measures first makes no difference.
    Outcomes, settings and the coins of double clicks come from ``entropy`` bit by bit, since they become the key. The
    eavesdropper is on Bob's arm, where it leaves the source, and treats each photon by itself.

    The truth is taken over pulses with clicks on both sides at equal angles: ``sifted`` (their number) and, where there
    are any, ``qber`` and ``eve_correct``, the share of Alice's bits that the eavesdropper guesses right.

    Args:
        pulses: of the source, at least 1.
        source: on the link.
        analysers: of the parties.
        link: between Alice and Bob.
        eavesdropper: on it.
        entropy: of outcomes and settings, and of the seed of the physics.

    Raises:
        ConfigError: there are no pulses, or the attack does not fit.
    """
    if pulses < 1:
        raise ConfigError(f"an exchange of {pulses} pulses", "at least 1")
    noise, arms, dead = entropy.generator(), source.arms(link), (0, 0)
    found: tuple[list[Clicks], list[Clicks]] = ([], [])
    tally: Counter[str] = Counter()
    for start in range(0, pulses, _CHUNK):
        pairs = _emit(min(_CHUNK, pulses - start), source, analysers, entropy, noise)
        arriving = eavesdropper.tap(pairs.leaving, arms[1], noise)
        clicks = (
            _alice(pairs, arms[0], entropy, noise, dead[0]),
            _bob(pairs, arriving, arms[1], entropy, noise, dead[1]),
        )
        dead = clicks[0].dead, clicks[1].dead
        tally.update(_count(pairs, arriving, *clicks))
        for party, those in zip(found, clicks, strict=True):
            party.append(replace(those, pulse=those.pulse + start))
    alice, bob = map(_half, found)
    return Exchange(pulses, alice, bob, _truth(tally))


@dataclass(frozen=True, eq=False)
class _Pairs:
    """A run of pulses.

    Args:
        count: of the pulses.
        pulse: each pair is in.
        bit: each pair gives Alice if she sees it.
        leaving: Bob's photons, a pulse each.
        settings: Alice's and Bob's of every pulse.
        analysers: theirs.
    """

    count: int
    pulse: Int64[np.ndarray, " k"]
    bit: UInt8[np.ndarray, " k"]
    leaving: Pulses
    settings: tuple[UInt8[np.ndarray, " n"], UInt8[np.ndarray, " n"]]
    analysers: Analysers


def _emit(count: int, source: PairSource, analysers: Analysers, entropy: Entropy, noise: np.random.Generator) -> _Pairs:
    alice, bob = (choices(entropy, count, analysers.shares) for _ in range(2))
    pulse = source.emitted(count, noise)
    bit = entropy.bits(len(pulse))
    white = noise.random(len(pulse)) < (1 - source.visibility) / 2
    one = np.ones(len(pulse), np.uint8)
    leaving = Pulses(analysers.source, bit ^ white, alice[pulse], np.zeros_like(one), one)
    return _Pairs(count, pulse, bit, leaving, (alice, bob), analysers)


def _alice(pairs: _Pairs, arm: Link, entropy: Entropy, noise: np.random.Generator, dead: int) -> Clicks:
    seen = noise.random(len(pairs.pulse)) < arm.transmittance
    return click(pairs.pulse[seen], 4 * pairs.bit[seen], pairs.settings[0], arm, entropy, noise, dead)


def _bob(
    pairs: _Pairs, arriving: Arriving, arm: Link, entropy: Entropy, noise: np.random.Generator, dead: int
) -> Clicks:
    photon = np.repeat(np.arange(len(pairs.pulse)), arriving.photons)
    seen = photon[noise.random(len(photon)) < arriving.transmittance]
    pulse, setting = pairs.pulse[seen], pairs.settings[1]
    turn = (arriving.angle[seen] - np.array(pairs.analysers.bob, np.uint8)[setting[pulse]]) & 7
    return click(pulse, turn, setting, arm, entropy, noise, dead)


def _count(pairs: _Pairs, arriving: Arriving, alice: Clicks, bob: Clicks) -> dict[str, int]:
    pulse, a, b = np.intersect1d(alice.pulse, bob.pulse, assume_unique=True, return_indices=True)
    angles = (
        np.array(of)[clicks.basis[at]]
        for of, clicks, at in ((pairs.analysers.alice, alice, a), (pairs.analysers.bob, bob, b))
    )
    equal = np.equal(*angles)
    guess = np.zeros(pairs.count, np.uint8)
    guess[pairs.pulse] = arriving.guess
    truly = alice.bit[a][equal]
    return {
        "sifted": len(truly),
        "wrong": int(np.count_nonzero(bob.bit[b][equal] != truly)),
        "guessed": int(np.count_nonzero(guess[pulse[equal]] == truly)),
    }


def _truth(tally: Counter[str]) -> dict[str, float]:
    sifted = tally["sifted"]
    shares = {"qber": tally["wrong"] / sifted, "eve_correct": tally["guessed"] / sifted} if sifted else {}
    return {"sifted": float(sifted)} | shares


def _half(clicks: list[Clicks]) -> Half:
    pulse, bit, basis = (
        np.concatenate(part) for part in zip(*((c.pulse, c.bit, c.basis) for c in clicks), strict=True)
    )
    return Half(pulse, bit, basis)
