import numpy as np
import pytest

from qfedfm.qkd.link import Link
from qfedfm.qkd.pulses import Arriving
from qfedfm.qkd.receiver import detect, live
from tests.qkd.sampling import agrees, seeded


def arriving(count: int, angle: int, photons: int, transmittance: float = 1.0) -> Arriving:
    unknown = np.zeros(count, np.uint8), np.full(count, 0.5, np.float32)
    return Arriving(np.full(count, angle, np.uint8), np.full(count, photons, np.uint8), transmittance, *unknown)


@pytest.mark.parametrize("angle", range(8))
@pytest.mark.parametrize("basis", [0, 1])
def test_a_photon_takes_a_detector_by_the_rule_of_born(angle: int, basis: int) -> None:
    count, e = 200_000, 0.03
    clicks = detect(
        arriving(count, angle, 1, 0.5),
        np.full(count, basis, np.uint8),
        Link(misalignment=e),
        seeded(angle),
        np.random.default_rng(angle),
        0,
    )
    state = np.array([np.cos(angle * np.pi / 8), np.sin(angle * np.pi / 8)])
    one = (np.array([0, 1]), np.array([1, -1]) / np.sqrt(2))[basis]
    p = abs(state @ one) ** 2
    assert agrees(len(clicks.pulse), count, 0.5)
    assert agrees(clicks.bit.sum(), len(clicks.bit), p * (1 - e) + (1 - p) * e)


def test_double_clicks_are_coins() -> None:
    """|0⟩ measured in X with many photons fires both detectors; the coins are the entropy's, not the physics'."""
    count = 4000
    both = arriving(count, 0, 200), np.ones(count, np.uint8), Link()
    one, again = (detect(*both, seeded(1), np.random.default_rng(seed), 0) for seed in (1, 2))
    other = detect(*both, seeded(2), np.random.default_rng(1), 0)
    assert len(one.pulse) == count
    assert agrees(one.bit.sum(), count, 0.5)
    np.testing.assert_array_equal(one.bit, again.bit)
    assert (one.bit != other.bit).any()


@pytest.mark.parametrize("dark", [0.001, 0.2])
def test_dark_counts_of_both_detectors(dark: float) -> None:
    count = 400_000
    clicks = detect(
        arriving(count, 0, 0), np.zeros(count, np.uint8), Link(dark_counts=dark), seeded(), np.random.default_rng(3), 0
    )
    assert agrees(len(clicks.pulse), count, 1 - (1 - dark) ** 2)
    assert agrees(clicks.bit.sum(), len(clicks.bit), 0.5)


@pytest.mark.parametrize("seed", range(20))
def test_dead_time_is_that_of_a_loop_over_pulses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, dead_time, dead = int(rng.integers(1, 300)), int(rng.integers(0, 20)), int(rng.integers(0, 40))
    dead = dead if dead_time else 0
    click, off, expected = rng.random(count) < rng.random(), dead, []
    for pulse in range(count):
        if off > 0:
            off -= 1
        elif click[pulse]:
            expected.append(pulse)
            off = dead_time
    kept, left = live(np.flatnonzero(click), count, dead_time, dead)
    assert (kept.tolist(), left) == (expected, off)
