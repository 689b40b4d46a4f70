"""The simulation of pairs against the probabilities of all patterns of clicks, by inclusion and exclusion."""

import math
from itertools import chain, combinations

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.qkd import pairs
from qfedfm.qkd.bbm92 import BBM92
from qfedfm.qkd.chsh import joint_counts
from qfedfm.qkd.e91 import ANALYSERS, E91
from qfedfm.qkd.eavesdroppers import (
    EntanglingProbe,
    InterceptResend,
    Nobody,
    PhotonNumberSplitting,
    UnambiguousDiscrimination,
)
from qfedfm.qkd.entropy import Entropy, Seeded, System
from qfedfm.qkd.link import Link
from qfedfm.qkd.pairs import Analysers, PairSource
from tests.quantum.chi2 import p_value

LEVEL = 1e-4
IDEAL = PairSource(mean_pairs=None, visibility=1.0)
DETECTORS = (0, 1, 2, 3)
"""Alice's 0 and 1, Bob's 0 and 1."""


def subsets(things) -> list[tuple[int, ...]]:
    return list(chain.from_iterable(combinations(things, size) for size in range(len(things) + 1)))


def patterns(source: PairSource, link: Link, correlation: float) -> dict[tuple[int, ...], float]:
    """P of every set of detectors that click in a pulse.

    Detectors D stay silent with probability (1 − d)^|D| e^{−μq}, or (1 − d)^|D| (1 − q) for exactly one pair, q the
    probability that a pair makes one of them click.
    """
    arms = source.arms(link)
    eta = [arm.transmittance for arm in arms]

    def silent(those: tuple[int, ...]) -> float:
        missed = 0.0
        for a in (0, 1, None):
            for b in (0, 1, None):
                if (a is None or a not in those) and (b is None or b + 2 not in those):
                    joint = 0.25 * (1 + correlation * (1 if a == b else -1))
                    seen = joint if a is not None and b is not None else 0.5 if (a is None) != (b is None) else 1
                    way = (eta[0] if a is not None else 1 - eta[0]) * (eta[1] if b is not None else 1 - eta[1])
                    missed += seen * way
        light = missed if source.mean_pairs is None else math.exp(-source.mean_pairs * (1 - missed))
        return (1 - link.dark_counts) ** len(those) * light

    found = {}
    for fired in subsets(DETECTORS):
        rest = tuple(set(DETECTORS) - set(fired))
        found[fired] = sum((-1) ** len(more) * silent(rest + more) for more in subsets(fired))
    assert sum(found.values()) == pytest.approx(1)
    return found


def bits(found: dict[tuple[int, ...], float]) -> np.ndarray:
    """P of coincidences with Alice's and Bob's bits, a coin where both detectors of a party click."""
    joint = np.zeros((2, 2))
    for fired, probability in found.items():
        a, b = ([d % 2 for d in fired if d // 2 == party] for party in (0, 1))
        for i in a:
            for j in b:
                joint[i, j] += probability / (len(a) * len(b))
    return joint


CASES = {
    "one pair": (PairSource(None, 0.9), Link(misalignment=0.02)),
    "one pair, loss": (PairSource(None, 0.97, 0.2), Link(distance=20.0, efficiency=0.5, dark_counts=0.05)),
    "poisson": (PairSource(0.8, 0.95), Link(distance=5.0, efficiency=0.6, dark_counts=0.01, misalignment=0.03)),
    "bright, at alice's": (PairSource(3.0, 1.0, 0.0), Link(distance=30.0, efficiency=0.9, receiver_loss=1.0)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("wrong", [False, True])
def test_clicks_come_as_often_as_they_should(name: str, wrong: bool) -> None:
    """χ² over coincidences by settings and bits and all else; a visibility that is wrong by .15 is found."""
    source, link = CASES[name]
    pulses = 400_000
    exchange = E91(source).exchange(pulses, link, Nobody(), Seeded(Key.of(1).fold(name)))
    counts = joint_counts(exchange.alice, exchange.bob, (3, 3))
    visible = source.visibility - 0.15 * wrong
    expected = np.zeros((3, 3, 2, 2))
    for s, alpha in enumerate(ANALYSERS.alice):
        for t, beta in enumerate(ANALYSERS.bob):
            correlation = visible * (1 - 2 * link.misalignment) ** 2 * math.cos((alpha - beta) * math.pi / 4)
            expected[s, t] = bits(patterns(source, link, correlation)) / 9
    seen = np.append(counts.ravel(), pulses - counts.sum())
    found = p_value(seen, np.append(expected.ravel(), 1 - expected.sum()))
    assert (found < LEVEL) == wrong


@pytest.mark.parametrize("name", CASES)
def test_each_party_clicks_as_often_as_it_should(name: str) -> None:
    source, link = CASES[name]
    pulses = 200_000
    exchange = BBM92(0.7, source).exchange(pulses, link, Nobody(), Seeded(Key.of(2).fold(name)))
    probability = patterns(source, link, 0.3)
    for party, half in enumerate((exchange.alice, exchange.bob)):
        clicks = sum(p for fired, p in probability.items() if any(d // 2 == party for d in fired))
        assert abs(len(half) - pulses * clicks) <= 4.5 * math.sqrt(pulses * clicks * (1 - clicks))
        assert (np.diff(half.pulse) > 0).all()
        assert half.pulse[-1] < pulses
        # settings do not depend on the clicks
        assert abs(np.mean(half.basis == 0) - 0.7) < 4.5 * math.sqrt(0.21 / len(half))
        assert abs(half.bit.mean() - 0.5) < 4.5 * math.sqrt(0.25 / len(half))


def test_where_the_source_stands_decides_over_single_clicks_only() -> None:
    link, pulses = Link(distance=30.0), 400_000
    coincidences = []
    for position in (0.0, 0.5, 0.9):
        source = PairSource(None, 1.0, position)
        found = BBM92(source=source).exchange(pulses, link, Nobody(), Seeded(Key.of(3)))
        coincidences.append(int(joint_counts(found.alice, found.bob, (2, 2)).sum()))
        seen = 10 ** (-0.2 * 30 * position / 10)
        assert abs(len(found.alice) / pulses - seen) <= 4.5 * math.sqrt(seen * (1 - seen) / pulses)
    both = 10 ** (-0.2 * 30 / 10)
    assert max(abs(c / pulses - both) for c in coincidences) < 4.5 * math.sqrt(both / pulses)


def test_chunks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead time as well: gaps between clicks are longer than it, and the rate is the closed form p/(1 + pd)."""
    monkeypatch.setattr(pairs, "_CHUNK", 1000)
    link, pulses = Link(efficiency=0.4, dark_counts=0.01, dead_time=7), 200_500
    source = PairSource(0.5, 1.0)
    found = BBM92(source=source).exchange(pulses, link, Nobody(), Seeded(Key.of(4)))
    clicks = sum(p for fired, p in patterns(source, link, 0.0).items() if {0, 1} & set(fired))
    for half in (found.alice, found.bob):
        assert np.diff(half.pulse).min() == 8
        assert len(half) / pulses == pytest.approx(clicks / (1 + 7 * clicks), rel=0.01)
        assert half.pulse.max() > 199_000


class Zeros(Entropy):
    """Bits that are all 0, beside a right generator for the physics."""

    label, secret = "zeros", False

    def bytes(self, count: int) -> bytes:
        return bytes(count)

    def generator(self) -> np.random.Generator:
        return Key.of(0).numpy()


def test_outcomes_settings_and_coins_come_from_the_entropy() -> None:
    """Not from the physics, whose generator is fast and no secret."""
    found = BBM92(source=PairSource(2.0, 1.0)).exchange(1000, Link(dark_counts=0.3), Nobody(), Zeros())
    assert not found.alice.basis.any()
    assert not found.bob.basis.any()
    both = BBM92(source=PairSource(2.0, 1.0)).exchange(1000, Link(), Nobody(), Zeros())
    assert not both.alice.bit.any()
    only_dark = BBM92(source=PairSource(1e-9)).exchange(10, Link(dark_counts=1 - 1e-12), Nobody(), Zeros())
    assert len(only_dark.alice) == 10
    assert not only_dark.alice.bit.any()


def test_the_same_seed_gives_the_same_exchange_and_the_system_another() -> None:
    protocol, link = E91(), Link(dark_counts=1e-3)
    one, again, other = (
        protocol.exchange(20_000, link, InterceptResend(0.5), entropy)
        for entropy in (Seeded(Key.of(5)), Seeded(Key.of(5)), System())
    )
    for name in ("pulse", "bit", "basis"):
        np.testing.assert_array_equal(getattr(one.bob, name), getattr(again.bob, name))
    assert not np.array_equal(one.alice.bit, other.alice.bit)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_intercept_resend_costs_a_quarter_of_its_share(share: float) -> None:
    found = BBM92(source=IDEAL).exchange(100_000, Link(), InterceptResend(share), Seeded(Key.of(6)))
    spread = 4.5 * math.sqrt(0.25 / found.truth["sifted"])
    assert abs(found.truth["qber"] - share / 4) <= spread * (share > 0)
    assert abs(found.truth["eve_correct"] - (0.5 + share / 4)) <= spread
    counts = joint_counts(found.alice, found.bob, (2, 2))
    kept = counts[0, 0] + counts[1, 1]
    assert (kept[0, 1] + kept[1, 0]) / kept.sum() == found.truth["qber"]
    assert kept.sum() == found.truth["sifted"]


@pytest.mark.parametrize("angle", [0.3, 1.2])
def test_an_entangling_probe_errs_in_both_bases(angle: float) -> None:
    """D = (1 − cos x)/2, and she guesses (1 + sin x)/2 right; on a state of visibility V only ½ + V sin x / 2."""
    source = PairSource(None, 0.9)
    found = BBM92(source=source).exchange(100_000, Link(), EntanglingProbe(angle), Seeded(Key.of(7)))
    counts = joint_counts(found.alice, found.bob, (2, 2))
    wrong = (1 - 0.9 * math.cos(angle)) / 2
    for basis in (0, 1):
        kept = counts[basis, basis]
        assert abs((kept[0, 1] + kept[1, 0]) / kept.sum() - wrong) < 4.5 * math.sqrt(0.25 / kept.sum())
    assert abs(found.truth["eve_correct"] - (1 + 0.9 * math.sin(angle)) / 2) < 4.5 * math.sqrt(0.25 / 50_000)


def test_who_splits_numbers_of_photons_gains_nothing_from_pairs() -> None:
    """Photons come one by one: she blocks as many as the fibre and knows none."""
    link, pulses = Link(distance=20.0), 200_000
    source = PairSource(None, 1.0, 0.0)
    found = BBM92(source=source).exchange(pulses, link, PhotonNumberSplitting(), Seeded(Key.of(8)))
    eta = 10 ** (-0.4)
    assert abs(len(found.bob) / pulses - eta) < 4.5 * math.sqrt(eta * (1 - eta) / pulses)
    assert found.truth["qber"] == 0
    assert abs(found.truth["eve_correct"] - 0.5) < 4.5 * math.sqrt(0.25 / found.truth["sifted"])


@pytest.mark.parametrize(
    ("protocol", "eavesdropper", "message"),
    [
        (BBM92(), UnambiguousDiscrimination(), "four states"),
        (E91(), EntanglingProbe(0.2), "BB84"),
    ],
    ids=["unambiguous", "probe"],
)
def test_refuses_attacks_that_do_not_fit(protocol, eavesdropper, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        protocol.exchange(100, Link(), eavesdropper, System())


def test_refuses_numbers_out_of_range() -> None:
    for call, message in (
        (lambda: PairSource(mean_pairs=0.0), "mean_pairs 0.0; expected above 0 and at most 10"),
        (lambda: PairSource(mean_pairs=math.nan), "mean_pairs nan"),
        (lambda: PairSource(visibility=1.1), "visibility 1.1; expected 0 to 1"),
        (lambda: PairSource(position=-0.1), "position -0.1"),
        (lambda: Analysers((0,), (0,), (0.5,)), "sum to 1"),
        (lambda: BBM92(p_z=1.0), "probabilities"),
        (lambda: E91().exchange(0, Link(), Nobody(), System()), "0 pulses; expected at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()


def test_a_dark_fibre_has_no_truth_but_that() -> None:
    found = E91(PairSource(1e-9)).exchange(10, Link(), Nobody(), Seeded(Key.of(9)))
    assert (len(found.alice), len(found.bob), dict(found.truth)) == (0, 0, {"sifted": 0.0})
