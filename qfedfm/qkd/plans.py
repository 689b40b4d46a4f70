"""What each protocol would be run with: the choices among which `chain` takes the one that promises the longest key."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from qfedfm.qkd.b92 import B92
from qfedfm.qkd.bb84 import BB84
from qfedfm.qkd.bbm92 import BBM92
from qfedfm.qkd.chsh_length import ChshLength, chsh_value
from qfedfm.qkd.decoy import DecoyBB84
from qfedfm.qkd.decoy_length import Intensities, Lim, VariableLengthDecoy
from qfedfm.qkd.e91 import ANALYSERS, CHSH_SETTINGS, E91, KEY_SETTINGS
from qfedfm.qkd.entropies import asymptotic_rate, entropy_of_errors
from qfedfm.qkd.expected import Expected, pairs, single_photons, weak_pulses
from qfedfm.qkd.finite import FixedLength, VariableLength
from qfedfm.qkd.link import Link
from qfedfm.qkd.pairs import PairSource
from qfedfm.qkd.proof import Epsilon, NoProof, Observed, PerIntensity, Proof
from qfedfm.qkd.session import QuantumPhase
from qfedfm.qkd.sifting import CONCLUSIVE, EKERT, MATCHING, Rule
from qfedfm.qkd.telling import Telling

P_Z = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97)
"""Probabilities of the key basis to choose from."""
SIGNALS, DECOYS = (0.3, 0.4, 0.5, 0.6), (0.05, 0.1, 0.15, 0.2)
"""Mean photon numbers to choose from; the third intensity is the vacuum."""
SHARES = ((0.34, 0.33, 0.33), (0.5, 0.25, 0.25), (0.6, 0.25, 0.15), (0.7, 0.15, 0.15), (0.8, 0.1, 0.1))
"""Of the intensities, to choose from."""
WEAK = 0.1
"""Mean photon number of weak pulses without decoys."""
WITHOUT_PROOF: Mapping[str, str] = MappingProxyType(
    {
        "weak-bb84": "weak pulses of one intensity: who splits off photons would not be seen; decoy-bb84 would show it",
        "b92": "the proof for two states that losses and finite lengths need is not part of this library",
    }
)
"""Protocols that give no key, and why."""
BELOW = 4.0
"""Standard deviations between sizes or tolerances and what is expected, so that honest runs are not aborted."""


@dataclass(frozen=True)
class Plan:
    """One way to run a protocol.

    Args:
        phase: of the protocol.
        rule: of sifting.
        proof: with all that it needs beforehand.
        expected: what it will see, in whole bits.
        qber: expected in the test; with a Bell test, the share of games lost.
        leak: bits that reconciliation will tell, at most.
        asymptotic: secret bits a pulse without end, reconciliation at Shannon's limit and no pulse spent on tests.
        errors_public: see `Session`.
    """

    phase: QuantumPhase
    rule: Rule
    proof: Proof
    expected: Observed
    qber: float
    leak: int
    asymptotic: float
    errors_public: bool = False


@dataclass(frozen=True)
class Wish:
    """What the user asks for.

    Args:
        pulses: to be sent.
        link: over it.
        telling: how much reconciliation will tell.
        variable: whether the length may follow from what is seen.
        epsilon: ε_sec and ε_cor.
        p_z: probabilities of the key basis to choose from.
    """

    pulses: int
    link: Link
    telling: Telling
    variable: bool
    epsilon: Epsilon
    p_z: tuple[float, ...] = P_Z


def bb84(wish: Wish) -> Iterator[Plan]:
    """Single photons."""
    found = single_photons(wish.link)
    for p_z in wish.p_z:
        yield _two_bases(wish, BB84(p_z), found, p_z)


def bbm92(wish: Wish) -> Iterator[Plan]:
    """Pairs in two bases."""
    source = PairSource()
    found = pairs(wish.link, source)
    for p_z in wish.p_z:
        yield _two_bases(wish, BBM92(p_z, source), found, p_z)


def _two_bases(wish: Wish, phase: QuantumPhase, found: Expected, p_z: float) -> Plan:
    mean = _observed(wish.pulses * found.clicks * p_z**2, wish.pulses * found.clicks * (1 - p_z) ** 2, found.qber)
    asymptotic = max(found.clicks * asymptotic_rate(found.qber), 0.0)
    if wish.variable:
        leak = wish.telling.most(mean.key, mean.rate, both=False)
        return Plan(phase, MATCHING, VariableLength(wish.epsilon), mean, found.qber, leak, asymptotic, True)
    key, test = _surely(mean.key), _surely(mean.test)
    tolerance = _at_most(found.qber, test)
    leak = wish.telling.most(key, tolerance, both=False)
    proof = FixedLength(key, test, tolerance, leak, wish.epsilon)
    return Plan(phase, MATCHING, proof, _observed(key, test, found.qber), found.qber, leak, asymptotic, True)


def weak_bb84(wish: Wish) -> Iterator[Plan]:
    """Weak pulses of one intensity: splitting pulses of several photons leaves no trace."""
    found = weak_pulses(wish.link, WEAK)
    clicks = wish.pulses * wish.link.live(found.clicks) / 4
    proof = NoProof(_surely(clicks), WITHOUT_PROOF["weak-bb84"])
    yield Plan(BB84(0.5, WEAK), MATCHING, proof, _observed(clicks, clicks, found.qber), found.qber, 0, 0.0)


def b92(wish: Wish) -> Iterator[Plan]:
    """Two states; with errors a fourth of the detections and half of those that were turned are conclusive."""
    found = single_photons(wish.link)
    bits = wish.pulses * found.clicks * (0.25 + found.qber / 2) / 2
    conclusive = 2 * found.qber / (1 + 2 * found.qber)
    yield Plan(
        B92(),
        CONCLUSIVE,
        NoProof(_surely(bits), WITHOUT_PROOF["b92"]),
        _observed(bits, bits, conclusive),
        conclusive,
        0,
        0.0,
    )


def e91(wish: Wish) -> Iterator[Plan]:
    """Key at equal angles, a game at the others; the number of each setting is even."""
    source = PairSource()
    found, game = pairs(wish.link, source), pairs(wish.link, source, math.sqrt(0.5))
    even = wish.pulses * found.clicks / (len(ANALYSERS.alice) * len(ANALYSERS.bob))
    key, test = _surely(even * len(KEY_SETTINGS)), _surely(even * len(CHSH_SETTINGS) ** 2)
    lost = _at_most(game.qber, test)
    tolerance = max(chsh_value(lost), 0.0)
    leak = wish.telling.most(key, found.qber + lost - game.qber, both=True)
    entropy = entropy_of_errors(found.qber) + entropy_of_errors(2 * found.qber)
    asymptotic = max(even * len(KEY_SETTINGS) / wish.pulses * (1 - entropy), 0.0)
    proof = ChshLength(key, test, tolerance, leak, wish.epsilon)
    yield Plan(E91(source), EKERT, proof, _observed(key, test, game.qber), game.qber, leak, asymptotic)


def decoy_bb84(wish: Wish) -> Iterator[Plan]:
    """Three intensities, the weakest of them the vacuum."""
    asymptotic = _decoys_without_end(wish.link)
    for signal, decoy, shares, p_z in itertools.product(SIGNALS, DECOYS, SHARES, wish.p_z):
        means = (signal, decoy, 0.0)
        found = [weak_pulses(wish.link, mean) for mean in means]
        key, test, wrong = _by_intensity(wish, found, shares, p_z)
        mean = Observed(sum(key), sum(test), sum(wrong), PerIntensity(key, test, wrong))
        source, rate = Intensities(means, shares), _mean_error(found, shares)
        leak = wish.telling.most(mean.key, rate if wish.variable else _at_most(rate, mean.test), both=True)
        proof: Proof = VariableLengthDecoy(source, wish.epsilon)
        if not wish.variable:
            proof = Lim(_surely(mean.key), _surely(mean.test), leak, source, wish.epsilon)
        yield Plan(DecoyBB84(means, shares, p_z), MATCHING, proof, mean, rate, leak, asymptotic)


def _decoys_without_end(link: Link) -> float:
    """max_μ Q₁ (1 − h(e₁)) − Q_μ h(E_μ), yields known exactly (Ma et al., quant-ph/0503005, Eq. 1, q = f = 1)."""
    single, most = single_photons(link), 0.0
    for signal in SIGNALS:
        found = weak_pulses(link, signal)
        one = single.clicks * signal * math.exp(-signal)
        secret = one * (1 - entropy_of_errors(single.qber)) - found.clicks * entropy_of_errors(found.qber)
        most = max(most, secret)
    return most


def _mean_error(found: list[Expected], shares: tuple[float, float, float]) -> float:
    clicks = [share * each.clicks for share, each in zip(shares, found, strict=True)]
    wrong = sum(count * each.qber for count, each in zip(clicks, found, strict=True))
    return wrong / sum(clicks) if sum(clicks) else 0.5


def _by_intensity(
    wish: Wish, found: list[Expected], shares: tuple[float, float, float], p_z: float
) -> tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]:
    """Bits of the key, bits of the test, errors of the test."""
    clicks = [share * each.clicks for share, each in zip(shares, found, strict=True)]
    total = sum(clicks)
    pulses = wish.pulses * (wish.link.live(total) / total if total else 1.0)
    key = tuple(round(pulses * p_z**2 * each) for each in clicks)
    test = tuple(round(pulses * (1 - p_z) ** 2 * each) for each in clicks)
    wrong = tuple(round(count * each.qber) for count, each in zip(test, found, strict=True))
    return (key[0], key[1], key[2]), (test[0], test[1], test[2]), (wrong[0], wrong[1], wrong[2])


def _observed(key: int | float, test: int | float, rate: float) -> Observed:
    return Observed(round(key), round(test), round(test * rate))


def _surely(mean: int | float) -> int:
    """As many as there will be but in one run of thirty thousand, at least 1."""
    return max(1, math.floor(mean - BELOW * math.sqrt(mean)))


def _at_most(rate: float, test: int) -> float:
    """What a test of so many bits will not exceed, likewise."""
    most = rate + BELOW * math.sqrt(rate * (1 - rate) / max(test, 1)) + BELOW / max(test, 1)
    return min(math.ceil(most * 10_000) / 10_000, 0.5)
