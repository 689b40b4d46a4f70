import dataclasses
import math

import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.link import LINKS, Link, named


def test_losses_in_decibel_add_up() -> None:
    link = Link(distance=35.0, attenuation=0.2, efficiency=0.5, receiver_loss=3.0)
    assert link.channel_transmittance == pytest.approx(10**-0.7)
    assert link.transmittance == pytest.approx(0.1 * 0.5)
    assert link.receiver_transmittance == pytest.approx(0.5 * 10**-0.3)


NOISY = Link(distance=10.0, efficiency=0.4, dark_counts=0.03, misalignment=0.1)


@pytest.mark.parametrize("mean", [0.0, 0.1, 2.0])
def test_gain_and_error_rate_are_sums_over_photon_numbers(mean: float) -> None:
    """Each photon is lost or goes to the right or the wrong detector; a double click is half an error."""
    eta, e, dark = NOISY.transmittance, NOISY.misalignment, NOISY.dark_counts
    gain = errors = 0.0
    for n in range(60):
        weight = math.exp(-mean) * mean**n / math.factorial(n)
        silent = (1 - dark) ** 2 * (1 - eta) ** n
        no_wrong, no_right = (1 - dark) * (1 - eta * e) ** n, (1 - dark) * (1 - eta * (1 - e)) ** n
        only_wrong = no_right - silent
        both = 1 - no_wrong - no_right + silent
        gain += weight * (1 - silent)
        errors += weight * (only_wrong + both / 2)
    assert NOISY.gain(mean) == pytest.approx(gain, rel=1e-12)
    assert NOISY.error_rate(mean) == pytest.approx(errors / gain, rel=1e-12)


@pytest.mark.parametrize("distance", [0.0, 60.0, 122.0, 200.0])
def test_agrees_with_the_published_first_order(distance: float) -> None:
    """Y₀ + 1 − e^(−ημ) and Y₀/2 + e_d (1 − e^(−ημ)) with the numbers of Ma et al."""
    link, mean = dataclasses.replace(named("long"), distance=distance), 0.48
    detected = 1 - math.exp(-(10 ** (-0.21 * distance / 10)) * 0.045 * mean)
    assert link.gain(mean) == pytest.approx(1.7e-6 + detected, rel=1e-5)
    assert link.error_rate(mean) * link.gain(mean) == pytest.approx(0.85e-6 + 0.033 * detected, rel=2e-2)


def test_dead_time_caps_the_rate() -> None:
    assert Link().live(0.3) == 0.3
    assert Link(dead_time=9).live(1.0) == pytest.approx(0.1)
    assert Link(dead_time=99).live(0.01) == pytest.approx(1 / 199)


def test_named_links() -> None:
    assert {name: link.distance for name, link in LINKS.items()} == {"lab": 0, "metro": 25, "long": 122}
    assert named("metro").channel_transmittance == pytest.approx(10**-0.5)
    with pytest.raises(ConfigError, match="did you mean 'metro'"):
        named("metr")


@pytest.mark.parametrize(
    "wrong",
    [
        {"distance": -1.0},
        {"distance": math.inf},
        {"attenuation": math.nan},
        {"efficiency": 0.0},
        {"efficiency": 1.1},
        {"dark_counts": 1.0},
        {"misalignment": 0.5},
        {"dead_time": -1},
        {"receiver_loss": -0.1},
    ],
    ids=str,
)
def test_refuses_numbers_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Link(**wrong)


def test_refuses_the_error_rate_of_nothing() -> None:
    with pytest.raises(ConfigError, match="never come"):
        Link().error_rate(0.0)
