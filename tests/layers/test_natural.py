"""Natural compression against the probabilities and the variance of the paper."""

import numpy as np
import pytest

from qfedfm.core.errors import PayloadError
from qfedfm.layers.natural import Natural
from tests.layers.sides import client_at, draws

RNG = np.random.default_rng(5)
COUNT = 40000


def test_the_powers_of_two_around_a_number_with_the_probabilities_of_the_paper():
    x = (RNG.normal(size=40) * 10.0 ** RNG.integers(-20, 20, 40)).astype(np.float32)
    found, wide = draws(Natural(), x, COUNT), x.astype(np.float64)
    below = 2.0 ** np.floor(np.log2(np.abs(wide)))
    up = np.abs(found) == 2 * below
    assert (up | (np.abs(found) == below)).all()
    assert (np.sign(found) == np.sign(x)).all()
    np.testing.assert_allclose(up.mean(axis=0), np.abs(wide) / below - 1, atol=5 * 0.5 / np.sqrt(COUNT))


@pytest.mark.parametrize("coding", ["planes", "entropy"])
def test_an_eighth_is_the_worst_variance(coding):
    x = np.array([4 / 3, -2 / 3 * 2**40, 1.5, 1.1, 2.0, -1.999, 2.0**-126], np.float32)
    found, wide = draws(Natural(coding=coding), x, COUNT), x.astype(np.float64)
    ratios = ((found - wide) ** 2).mean(axis=0) / wide**2
    fraction = np.abs(wide) / 2.0 ** np.floor(np.log2(np.abs(wide))) - 1
    np.testing.assert_allclose(ratios, fraction * (1 - fraction) / (1 + fraction) ** 2, atol=0.003)
    assert ratios[:2] == pytest.approx(1 / 8, abs=0.003)
    m = np.linspace(0, 1, 10001)
    assert (m * (1 - m) / (1 + m) ** 2).max() <= Natural().distortion(client_at(1).layout).omega + 1e-12


def test_powers_of_two_and_zeros_come_back_exactly():
    powers = 2.0 ** np.arange(-126, 128)
    x = np.concatenate([powers, -powers, [0.0]]).astype(np.float32)
    np.testing.assert_array_equal(draws(Natural(), x, 3), np.tile(x, (3, 1)))


def test_subnormal_numbers_are_right_on_average():
    least = 2.0**-126
    x = np.array([least / 2, -least / 4, least * (1 - 2.0**-23), 1e-45], np.float32)
    found = draws(Natural(), x, COUNT)
    assert set(np.unique(found).tolist()) <= {-least, 0.0, least}
    np.testing.assert_allclose(found.mean(axis=0) / least, x.astype(np.float64) / least, atol=0.013)


def test_above_the_last_power_the_largest_number_stands_for_the_next():
    largest = float(np.finfo(np.float32).max)
    x = np.array([largest, -1.5 * 2.0**127, 2.0**127], np.float32)
    found = draws(Natural(), x, COUNT)
    assert set(np.unique(np.abs(found)).tolist()) <= {2.0**127, largest}
    np.testing.assert_allclose(found.mean(axis=0) / x.astype(np.float64), 1, atol=0.01)
    assert (np.abs(found[:, 0]) == largest).mean() > 0.9999


def test_nine_bits_or_the_entropy_of_the_exponents():
    x, at = RNG.normal(size=2**16).astype(np.float32), client_at(2**16)
    assert len(Natural().encode(x, at)) == 2**16 * 9 // 8
    coded = Natural(coding="entropy").encode(x, at)
    exponents = np.frexp(Natural(coding="entropy").decode(coded, at))[1]
    p = np.unique(exponents, return_counts=True)[1] / x.size
    assert 8 * len(coded) / x.size == pytest.approx(1 - p @ np.log2(p), abs=0.05)
    x[::2] = 0
    assert len(Natural().encode(x, at)) == 2**16 + 2**16 // 16


def test_bodies_that_are_none_are_refused():
    at = client_at(8)
    for body in (b"", b"\0" * 7, b"\0" * 9, b"\1" * 8, b"\1" * 8 + b"\0\0"):
        with pytest.raises(PayloadError):
            Natural().decode(body, at)
