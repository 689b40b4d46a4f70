import math

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.decoy import DecoyBB84
from qfedfm.qkd.eavesdroppers import Eavesdropper, Nobody, PhotonNumberSplitting
from qfedfm.qkd.exchange import Exchange
from qfedfm.qkd.link import Link
from tests.qkd.sampling import agrees, seeded

PROTOCOL = DecoyBB84(intensities=(0.5, 0.15, 0.01), probabilities=(0.5, 0.3, 0.2), p_z=0.7)
LINK = Link(distance=40.0, efficiency=0.5, dark_counts=2e-4, misalignment=0.02)
PULSES = 3_000_000


def statistics(exchange: Exchange) -> list[tuple[int, int, int, int]]:
    """Pulses, clicks, clicks in the same basis and errors among these, of each intensity, from the two records."""
    intensity, at = exchange.alice.intensity, exchange.bob.pulse
    same = exchange.alice.basis[at] == exchange.bob.basis
    wrong = same & (exchange.alice.bit[at] != exchange.bob.bit)
    clicked = [intensity[at] == k for k in range(3)]
    return [
        ((intensity == k).sum(), clicked[k].sum(), same[clicked[k]].sum(), wrong[clicked[k]].sum()) for k in range(3)
    ]


def single_photon_yield(gains: list[float], intensities: tuple[float, float, float]) -> float:
    """Lower bound on Y₁ from three intensities: Ma, Qi, Zhao & Lo, quant-ph/0503005, Eqs. 18 and 21."""
    (mu, nu, weak), (q_mu, q_nu, q_weak) = intensities, gains
    y0 = max(0.0, (nu * q_weak * math.exp(weak) - weak * q_nu * math.exp(nu)) / (nu - weak))
    rest = (nu**2 - weak**2) / mu**2 * (q_mu * math.exp(mu) - y0)
    return mu / (mu * nu - mu * weak - nu**2 + weak**2) * (q_nu * math.exp(nu) - q_weak * math.exp(weak) - rest)


def exchanged(eavesdropper: Eavesdropper, link: Link = LINK) -> Exchange:
    return PROTOCOL.exchange(PULSES, link, eavesdropper, seeded(20))


def test_every_intensity_has_its_gain_and_error_rate() -> None:
    exchange = exchanged(Nobody())
    for (sent, clicks, sifted, wrong), mean, share in zip(
        statistics(exchange), PROTOCOL.intensities, PROTOCOL.probabilities, strict=True
    ):
        detected = 1 - math.exp(-(10**-0.8) * 0.5 * mean)
        assert agrees(sent, PULSES, share)
        assert agrees(clicks, sent, 4e-4 + detected - 4e-4 * detected)
        assert agrees(sifted, clicks, 0.7**2 + 0.3**2)
        assert agrees(wrong, sifted, LINK.error_rate(mean))
        assert LINK.error_rate(mean) == pytest.approx((2e-4 + 0.02 * detected) / (4e-4 + detected), rel=0.02)


def test_yields_of_photon_numbers() -> None:
    truth, eta = exchanged(Nobody()).truth, 10**-0.8 * 0.5
    p = [
        sum(share * math.exp(-m) * m**n for m, share in zip(PROTOCOL.intensities, PROTOCOL.probabilities, strict=True))
        for n in (0, 1)
    ]
    one = 1 - (1 - 2e-4) ** 2 * (1 - eta)
    assert agrees(truth["yield_0"] * p[0] * PULSES, p[0] * PULSES, 1 - (1 - 2e-4) ** 2)
    assert agrees(truth["yield_1"] * p[1] * PULSES, p[1] * PULSES, one)
    assert truth["error_1"] == pytest.approx((2e-4 + 0.02 * eta) / one, rel=0.05)


def estimated(exchange: Exchange) -> float:
    gains = [clicks / sent for sent, clicks, _, _ in statistics(exchange)]
    return single_photon_yield(gains, PROTOCOL.intensities)


def test_decoys_show_photon_number_splitting_and_the_error_rate_does_not() -> None:
    """She pays with 20 dB of loss: the clicks of all pulses together and the errors of the signal stay as they were."""
    link = Link(distance=100.0, efficiency=0.5, dark_counts=1e-6, misalignment=0.02)
    honest, split = exchanged(Nobody(), link), exchanged(PhotonNumberSplitting(), link)
    expected = sum(link.gain(m) * p for m, p in zip(PROTOCOL.intensities, PROTOCOL.probabilities, strict=True))
    for exchange in (honest, split):
        _, _, sifted, wrong = statistics(exchange)[0]
        assert agrees(len(exchange.bob), PULSES, expected)
        assert agrees(wrong, sifted, link.error_rate(0.5))
    assert estimated(honest) == pytest.approx(honest.truth["yield_1"], rel=0.3)
    assert estimated(split) < 0.1 * estimated(honest)
    assert split.truth["yield_1"] < 0.01 * honest.truth["yield_1"]
    assert split.truth["eve_correct"] > 0.99
    assert honest.truth["eve_information"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"intensities": (0.5, 0.4, 0.2)},
        {"intensities": (0.5, 0.1, 0.1)},
        {"intensities": (0.5, 0.1, -0.1)},
        {"intensities": (0.1, 0.5, 0.0)},
        {"intensities": (11.0, 0.5, 0.0)},
        {"probabilities": (0.5, 0.5, 0.0)},
        {"probabilities": (0.5, 0.3, 0.3)},
        {"p_z": 1.0},
    ],
    ids=str,
)
def test_refuses_what_is_no_decoy_protocol(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        DecoyBB84(**wrong)


def test_intensities_are_recorded_as_sent() -> None:
    """Pulses of the vacuum never click on a link without dark counts."""
    exchange = DecoyBB84().exchange(200_000, Link(), Nobody(), seeded(21))
    assert set(np.unique(exchange.alice.intensity).tolist()) == {0, 1, 2}
    assert set(exchange.alice.intensity[exchange.bob.pulse].tolist()) == {0, 1}
