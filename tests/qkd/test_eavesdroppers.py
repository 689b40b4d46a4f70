import math

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.b92 import B92
from qfedfm.qkd.bb84 import BB84
from qfedfm.qkd.eavesdroppers import (
    Eavesdropper,
    EntanglingProbe,
    InterceptResend,
    Nobody,
    PhotonNumberSplitting,
    UnambiguousDiscrimination,
)
from qfedfm.qkd.exchange import Exchange
from qfedfm.qkd.link import Link
from tests.qkd.sampling import agrees, h, seeded

LOSSY = Link(distance=20.0, efficiency=0.7)
PULSES = 600_000


def check(exchange: Exchange, qber: float, correct: float, information: float) -> None:
    truth = exchange.truth
    assert agrees(truth["qber"] * truth["sifted"], truth["sifted"], qber)
    assert agrees(truth["eve_correct"] * truth["sifted"], truth["sifted"], correct)
    assert truth["eve_information"] == pytest.approx(information, abs=2.5 / math.sqrt(truth["sifted"]))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 1.0])
def test_intercept_resend_errs_in_a_quarter_of_what_it_touches(share: float) -> None:
    """Half of it in the right basis, known; half in the wrong one, where both Bob and her guess have coins."""
    exchange = BB84().exchange(PULSES, LOSSY, InterceptResend(share), seeded(40))
    check(exchange, share / 4, 0.5 + share / 4, share / 2)
    assert agrees(len(exchange.bob), PULSES, LOSSY.transmittance)


def test_intercept_resend_in_the_breidbart_basis() -> None:
    right = math.cos(math.pi / 8) ** 2
    exchange = BB84().exchange(PULSES, LOSSY, InterceptResend(basis="Breidbart"), seeded(41))
    check(exchange, 0.25, right, 1 - h(right))


def test_intercept_resend_in_one_basis_disturbs_the_other() -> None:
    exchange = BB84().exchange(PULSES, LOSSY, InterceptResend(basis="Z"), seeded(42))
    check(exchange, 0.25, 0.75, 0.5)
    at = exchange.bob.pulse
    same, wrong = exchange.alice.basis[at] == exchange.bob.basis, exchange.alice.bit[at] != exchange.bob.bit
    in_z, in_x = same & (exchange.bob.basis == 0), same & (exchange.bob.basis == 1)
    assert not wrong[in_z].any()
    assert agrees(wrong[in_x].sum(), in_x.sum(), 0.5)


def test_intercept_resend_knows_nothing_of_dark_counts() -> None:
    link = Link(distance=1e4, dark_counts=0.05)
    check(BB84(mean_photons=0.1).exchange(PULSES, link, Nobody(), seeded(43)), 0.5, 0.5, 0.0)
    touched = 1 - math.exp(-0.1)  # pulses that she could measure; the click is no photon of theirs
    exchange = BB84(mean_photons=0.1).exchange(PULSES, link, InterceptResend(), seeded(43))
    check(exchange, 0.5, 0.5 + touched / 4, touched / 2)


def symmetric_attack(x: float) -> tuple[float, float, float]:
    """Errors in Z and X and her best guess, from the isometry itself (Gisin et al., quant-ph/0101098, Sec. VI E).

    |0⟩ → √F |0⟩φ₀ + √D |1⟩θ₀ and |1⟩ → √F |1⟩φ₁ + √D |0⟩θ₁, where the φ and the θ overlap by cos x and are orthogonal
    to each other; her guess by the trace norm.
    """
    D = (1 - math.cos(x)) / 2
    phi = [np.array([math.cos(x / 2), s * math.sin(x / 2), 0, 0]) for s in (1, -1)]
    theta = [np.array([0, 0, math.cos(x / 2), s * math.sin(x / 2)]) for s in (1, -1)]
    ket = np.eye(2)
    out = [
        math.sqrt(1 - D) * np.outer(ket[b], phi[b]) + math.sqrt(D) * np.outer(ket[1 - b], theta[b]) for b in (0, 1)
    ]  # [Bob, Eve]
    plus, minus = (out[0] + out[1]) / math.sqrt(2), np.array([1, -1]) / math.sqrt(2)
    error_z, error_x = float(np.sum((ket[1] @ out[0]) ** 2)), float(np.sum((minus @ plus) ** 2))
    hers = [state.T @ state for state in out]
    guess = 0.5 + 0.25 * np.abs(np.linalg.eigvalsh(hers[0] - hers[1])).sum()
    return error_z, error_x, float(guess)


@pytest.mark.parametrize("x", [0.0, 0.3, math.pi / 4, 1.2, math.pi / 2])
def test_the_entangling_probe_is_the_symmetric_attack(x: float) -> None:
    error_z, error_x, guess = symmetric_attack(x)
    assert error_z == pytest.approx(error_x) == pytest.approx(EntanglingProbe(x).error_rate)
    exchange = BB84().exchange(PULSES, LOSSY, EntanglingProbe(x), seeded(44))
    check(exchange, error_z, guess, 1 - h(guess))
    assert agrees(len(exchange.bob), PULSES, LOSSY.transmittance)


def test_the_entangling_probe_knows_as_much_as_bob_at_14_6_percent() -> None:
    probe = EntanglingProbe(math.pi / 4)
    assert probe.error_rate == pytest.approx((1 - 1 / math.sqrt(2)) / 2)
    truth = BB84().exchange(PULSES, Link(), probe, seeded(45)).truth
    assert truth["eve_information"] == pytest.approx(1 - h(truth["qber"]), abs=0.01)


def poisson(mean: float, n: int) -> float:
    return math.exp(-mean) * mean**n / math.factorial(n)


def click(photons: int, eta: float) -> float:
    return 1 - (1 - eta) ** photons


def error(photons: int, eta: float, e: float) -> float:
    """The wrong detector alone, or both and a coin."""
    no_wrong, no_right, silent = ((1 - eta * part) ** photons for part in (e, 1 - e, 1))
    return no_right - silent + (1 - no_wrong - no_right + silent) / 2


@pytest.mark.parametrize(
    ("distance", "mean"), [(0.0, 0.5), (2.0, 0.5), (10.0, 0.5), (25.0, 0.5), (60.0, 0.5), (10.0, 3.0), (40.0, 0.05)]
)
def test_photon_number_splitting_keeps_clicks_and_errors(distance: float, mean: float) -> None:
    """What she knows of the clicks and their errors, by counting over photon numbers in each of her regimes of loss."""
    eta, e = 0.5, 0.04
    wanted = 1 - math.exp(-(10 ** (-0.02 * distance)) * eta * mean)
    several = range(2, 50)
    one = poisson(mean, 1) * eta
    split = sum(poisson(mean, n) * click(n - 1, eta) for n in several)
    whole = sum(poisson(mean, n) * click(n, eta) for n in several)
    if one + split < wanted:  # all pass, a share s is split: one + s·split + (1 − s)·whole = wanted
        s = (one + whole - wanted) / (whole - split)
        singles, taken, rest = 1.0, s, 1 - s
    elif split < wanted:
        singles, taken, rest = (wanted - split) / one, 1.0, 0.0
    else:
        singles, taken, rest = 0.0, wanted / split, 0.0
    errors = singles * poisson(mean, 1) * error(1, eta, e) + sum(
        poisson(mean, n) * (taken * error(n - 1, eta, e) + rest * error(n, eta, e)) for n in several
    )
    link = Link(distance=distance, efficiency=eta, misalignment=e)
    exchange = BB84(mean_photons=mean).exchange(2 * PULSES, link, PhotonNumberSplitting(), seeded(46))
    known = taken * split / wanted
    assert agrees(len(exchange.bob), 2 * PULSES, wanted)
    check(exchange, errors / wanted, (1 + known) / 2, known)
    assert errors / wanted == pytest.approx(link.error_rate(mean), rel=0.05)


def test_photon_number_splitting_gains_nothing_from_single_photons() -> None:
    exchange = BB84().exchange(PULSES, LOSSY, PhotonNumberSplitting(), seeded(47))
    check(exchange, 0.0, 0.5, 0.0)
    assert agrees(len(exchange.bob), PULSES, LOSSY.transmittance)


@pytest.mark.parametrize(
    ("protocol", "eavesdropper"),
    [(B92(), EntanglingProbe(0.3)), (BB84(), UnambiguousDiscrimination())],
    ids=["probe", "discrimination"],
)
def test_an_attack_must_fit_the_states(protocol: BB84 | B92, eavesdropper: Eavesdropper) -> None:
    with pytest.raises(ConfigError, match="states"):
        protocol.exchange(10, Link(), eavesdropper, seeded())


def test_refuses_attacks_out_of_range() -> None:
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ConfigError, match="share"):
            InterceptResend(share)
    for angle in (-0.1, 2.0, math.nan):
        with pytest.raises(ConfigError, match="angle"):
            EntanglingProbe(angle)
    with pytest.raises(ConfigError, match="Breidbart"):
        InterceptResend(basis="Breitbart")
