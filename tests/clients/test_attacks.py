"""The attacks against byzfl where it defines the same thing, closed forms elsewhere."""

import numpy as np
import pytest

from qfedfm.clients.attacks.alie import Alie, z_max
from qfedfm.clients.attacks.gaussian import Gaussian
from qfedfm.clients.attacks.ipm import InnerProductManipulation
from qfedfm.clients.attacks.label_flip import LabelFlip
from qfedfm.clients.attacks.sign_flip import SignFlip
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.core.registry import build, entries
from tests.peers import byzfl as peer

byzfl = peer("attacks.attacks")

KEY = Key.of(3).fold(5, "attack")
RNG = np.random.default_rng(1)
HONEST = RNG.normal(0.2, 1e-2, (7, 40)).astype(np.float32)
OWN = RNG.normal(0.1, 1e-2, (3, 40)).astype(np.float32)
CLIENTS = (4, 9, 2)
NOBODY = np.zeros((0, 40), np.float32)
LARGEST = np.finfo(np.float32).max


def test_the_register_has_the_five_attacks():
    assert {entry.name for entry in entries("attack")} >= {"sign-flip", "gaussian", "label-flip", "alie", "ipm"}


@pytest.mark.parametrize("name", [entry.name for entry in entries("attack")])
def test_every_attack_returns_one_finite_float32_row_for_each_attacker_and_leaves_its_input_alone(name):
    attack = build("attack", name)
    for honest in (HONEST, HONEST[:1], NOBODY):
        for f in (0, 1, 3):
            before = honest.copy(), OWN.copy()
            forged = attack.forge(honest, OWN[:f], CLIENTS[:f], KEY)
            assert forged.shape == (f, 40)
            assert forged.dtype == np.float32
            assert np.isfinite(forged).all()
            np.testing.assert_array_equal(honest, before[0])
            np.testing.assert_array_equal(OWN, before[1])


@pytest.mark.parametrize("name", ["sign-flip", "gaussian", "alie", "ipm"])
def test_huge_updates_are_cut_at_the_largest_float32(name):
    huge = np.array([[LARGEST, -LARGEST], [-LARGEST, LARGEST]], np.float32)
    options = {"alie": {"z": 9.0}, "ipm": {"epsilon": 9.0}}.get(name, {"scale": 9.0})
    forged = build("attack", {"name": name, **options}).forge(huge, huge, (1, 2), KEY)
    assert np.isfinite(forged).all()


def test_sign_flip_of_the_mean_update_is_byzfls():
    mean = HONEST.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    forged = SignFlip().forge(HONEST, mean, (1,), KEY)
    np.testing.assert_allclose(forged[0], byzfl.SignFlipping()(HONEST.astype(np.float64)), rtol=1e-6)


def test_sign_flip_scales_each_attackers_own_update():
    np.testing.assert_allclose(SignFlip(scale=3.0).forge(HONEST, OWN, CLIENTS, KEY), -3 * OWN, rtol=1e-6)


@pytest.mark.parametrize("epsilon", [0.1, 2.0, 10.0])
def test_ipm_is_byzfls(epsilon):
    forged = InnerProductManipulation(epsilon).forge(HONEST, OWN, CLIENTS, KEY)
    theirs = byzfl.InnerProductManipulation(epsilon)(HONEST.astype(np.float64))
    for row in forged:
        np.testing.assert_allclose(row, theirs, rtol=1e-6)


def test_ipm_turns_the_mean_exactly_beyond_h_over_f():
    h, f = len(HONEST), len(OWN)
    honest_mean = HONEST.mean(axis=0, dtype=np.float64)
    for epsilon in (h / f * 0.9, h / f * 1.1):
        forged = InnerProductManipulation(epsilon).forge(HONEST, OWN, CLIENTS, KEY)
        total = np.concatenate([HONEST, forged]).mean(axis=0, dtype=np.float64)
        expected = (h - epsilon * f) / (h + f)
        assert total @ honest_mean / (honest_mean @ honest_mean) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("z", [0.0, 0.7, 1.5])
def test_alie_is_byzfls_with_the_other_sign(z):
    forged = Alie(z=z).forge(HONEST, OWN, CLIENTS, KEY)
    theirs = byzfl.ALittleIsEnough(-z)(HONEST.astype(np.float64))
    for row in forged:
        np.testing.assert_allclose(row, theirs, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("n", "f"), [(50, 24), (51, 12), (10, 3), (10, 4), (100, 20), (25, 11)])
def test_z_max_is_the_quantile_of_the_papers_formula(n, f):
    from scipy.stats import norm

    supporters = np.floor(n / 2 + 1) - f
    assert z_max(n, f) == pytest.approx(max(0.0, norm.ppf((n - f - supporters) / (n - f))), abs=1e-9)


def test_z_max_of_the_papers_example():
    """n = 50 with m = 24: Φ(z) < 24/26 = 0.923, z = 1.43."""
    assert z_max(50, 24) == pytest.approx(1.43, abs=0.005)


def test_z_max_is_finite_where_the_attackers_are_a_majority_and_never_negative():
    for n in range(2, 30):
        for f in range(1, n):
            assert 0 <= z_max(n, f) < 3


def test_alie_takes_z_from_the_rounds_numbers():
    forged = Alie().forge(HONEST, OWN, CLIENTS, KEY)
    given = Alie(z=z_max(10, 3)).forge(HONEST, OWN, CLIENTS, KEY)
    np.testing.assert_array_equal(forged, given)


def test_alie_with_one_honest_client_copies_it():
    forged = Alie(z=5.0).forge(HONEST[:1], OWN, CLIENTS, KEY)
    np.testing.assert_array_equal(forged, np.repeat(HONEST[:1], 3, axis=0))


@pytest.mark.parametrize("attack", [Alie(z=1.0), InnerProductManipulation(2.0)])
def test_without_honest_clients_the_attackers_own_training_stands_in(attack):
    np.testing.assert_array_equal(attack.forge(NOBODY, OWN, CLIENTS, KEY), attack.forge(OWN, OWN, CLIENTS, KEY))


@pytest.mark.parametrize("attack", [Alie(z=1.0), InnerProductManipulation(2.0)])
def test_honest_updates_that_diverged_are_left_out(attack):
    broken = np.concatenate([HONEST, np.full((1, 40), np.nan, np.float32), np.full((1, 40), np.inf, np.float32)])
    forged = attack.forge(broken, OWN, CLIENTS, KEY)
    np.testing.assert_array_equal(forged, attack.forge(HONEST, OWN, CLIENTS, KEY))


def test_gaussian_noise_has_the_stated_moments():
    own = np.full((2, 200_000), 0.01, np.float32)
    own[1] *= 7
    forged = Gaussian(scale=2.0).forge(own[:0], own, (1, 2), KEY)
    sigma = 2.0 * own[:, 0]
    # the standard error of a mean is σ/√d, of a standard deviation σ/√(2d)
    assert np.all(np.abs(forged.mean(axis=1, dtype=np.float64)) < 5 * sigma / np.sqrt(200_000))
    np.testing.assert_allclose(forged.std(axis=1, dtype=np.float64), sigma, rtol=5 / np.sqrt(400_000))
    assert abs(np.corrcoef(forged)[0, 1]) < 5 / np.sqrt(200_000)


def test_gaussian_noise_belongs_to_the_client_and_the_round():
    both = Gaussian().forge(HONEST, OWN[:2], (4, 9), KEY)
    alone = Gaussian().forge(HONEST, OWN[1:2], (9,), KEY)
    np.testing.assert_array_equal(both[1], alone[0])
    swapped = Gaussian().forge(HONEST, OWN[[1, 0]], (9, 4), KEY)
    np.testing.assert_array_equal(swapped, both[::-1])
    assert not np.array_equal(both, Gaussian().forge(HONEST, OWN[:2], (4, 9), Key.of(3).fold(6, "attack")))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_label_flip_mirrors_the_labels_and_sends_the_honest_training_on_them(classes):
    labels = np.arange(classes)
    flipped = LabelFlip().relabel(labels, classes)
    np.testing.assert_array_equal(flipped, labels[::-1])
    np.testing.assert_array_equal(LabelFlip().relabel(flipped, classes), labels)
    np.testing.assert_array_equal(LabelFlip().forge(HONEST, OWN, CLIENTS, KEY), OWN)


@pytest.mark.parametrize("name", ["sign-flip", "gaussian", "alie", "ipm"])
def test_only_label_flip_touches_labels(name):
    labels = np.array([2, 0, 1])
    np.testing.assert_array_equal(build("attack", name).relabel(labels, 3), labels)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("sign-flip", "scale", 0.0),
        ("sign-flip", "scale", float("inf")),
        ("gaussian", "scale", -1.0),
        ("alie", "z", -0.1),
        ("alie", "z", float("nan")),
        ("ipm", "epsilon", 0.0),
    ],
)
def test_values_out_of_range_are_refused_from_a_configuration_and_from_code(name, option, value):
    with pytest.raises(ConfigError, match=name):
        build("attack", {"name": name, option: value})
    cls = next(entry.part for entry in entries("attack") if entry.name == name)
    with pytest.raises(ConfigError, match=name):
        cls(**{option: value})
