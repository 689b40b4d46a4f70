"""Expectations against the simulation, which counts clicks."""

import math

import pytest

from qfedfm.core.key import Key
from qfedfm.qkd.b92 import B92, conclusive
from qfedfm.qkd.bb84 import BB84
from qfedfm.qkd.bbm92 import BBM92
from qfedfm.qkd.e91 import E91, e91_chsh
from qfedfm.qkd.eavesdroppers import Nobody
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.expected import pairs, single_photons, weak_pulses
from qfedfm.qkd.link import Link
from qfedfm.qkd.pairs import PairSource

NOISY = Link(distance=5.0, efficiency=0.6, dark_counts=0.03, misalignment=0.04)
PULSES = 400_000


def matches(count, total, probability):
    return abs(count - total * probability) < 5 * math.sqrt(total * probability * (1 - probability))


@pytest.mark.parametrize("dead", [0, 3], ids=["live", "dead"])
def test_single_photons(dead):
    link = Link(5.0, 0.2, 0.6, 0.03, 0.04, dead)
    found = single_photons(link)
    done = BB84().exchange(PULSES, link, Nobody(), Seeded(Key.of(1)))
    assert matches(len(done.bob), PULSES, found.clicks)
    assert matches(done.truth["qber"] * done.truth["sifted"], done.truth["sifted"], found.qber)


def test_weak_pulses():
    found = weak_pulses(NOISY, 0.8)
    done = BB84(mean_photons=0.8).exchange(PULSES, NOISY, Nobody(), Seeded(Key.of(2)))
    assert matches(len(done.bob), PULSES, found.clicks)
    assert matches(done.truth["qber"] * done.truth["sifted"], done.truth["sifted"], found.qber)


@pytest.mark.parametrize("mean", [0.7, None], ids=["poissonian", "one"])
def test_pairs(mean):
    source = PairSource(mean, 0.9, 0.3)
    found = pairs(NOISY, source)
    done = BBM92(source=source).exchange(PULSES, NOISY, Nobody(), Seeded(Key.of(3)))
    assert matches(done.truth["sifted"], PULSES, found.clicks / 2)
    assert matches(done.truth["qber"] * done.truth["sifted"], done.truth["sifted"], found.qber)


def test_games_of_bell():
    source = PairSource(0.7, 0.95)
    lost = pairs(NOISY, source, math.sqrt(0.5)).qber
    done = E91(source).exchange(PULSES, NOISY, Nobody(), Seeded(Key.of(4)))
    found = e91_chsh(done.alice, done.bob)
    assert abs(found.value - (4 - 8 * lost)) < 5 * found.error


def test_two_states():
    from qfedfm.qkd.chain import chain

    plan = chain("b92", PULSES, NOISY).plan
    done = B92().exchange(PULSES, NOISY, Nobody(), Seeded(Key.of(5)))
    kept, _ = conclusive(done.bob.bit, done.bob.basis)
    assert kept.sum() == pytest.approx(plan.expected.key + plan.expected.test, rel=0.02)
    assert done.truth["qber"] == pytest.approx(plan.qber, rel=0.03)


def test_nothing_ever_comes():
    dark = Link(distance=1e6)
    assert (single_photons(dark).clicks, single_photons(dark).qber) == (0.0, 0.5)
    assert pairs(dark, PairSource()).qber == 0.5
    assert weak_pulses(dark, 0.5).qber == 0.5
