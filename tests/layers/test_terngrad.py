"""TernGrad against the closed form of its error."""

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import PayloadError
from qfedfm.core.registry import build
from qfedfm.layers.terngrad import Terngrad
from tests.layers.sides import client_at, draws

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("coding", ["planes", "entropy"])
def test_three_values_with_the_mean_and_the_error_of_the_closed_form(coding):
    x = (RNG.normal(size=30) * RNG.choice([0.1, 1], 30)).astype(np.float32)
    wide, largest = x.astype(np.float64), float(np.abs(x).max())
    found = draws(Terngrad(coding=coding), x, 20000)
    assert set(np.unique(found).tolist()) == {-largest, 0.0, largest}
    assert ((found == 0) | (np.sign(found) == np.sign(x))).all()
    np.testing.assert_allclose((found != 0).mean(axis=0), np.abs(wide) / largest, atol=5 * 0.5 / np.sqrt(20000))
    squares = ((found - wide) ** 2).sum(axis=1)
    exact = largest * np.abs(wide).sum() - wide @ wide
    assert squares.mean() == pytest.approx(exact, abs=5 * squares.std() / np.sqrt(20000))


@pytest.mark.parametrize("n", [1, 2, 9, 100, 3072])
def test_omega_is_the_error_of_the_worst_vector(n):
    omega = Terngrad().distortion(client_at(n).layout).omega

    def ratio(small: float) -> float:
        x = np.full(n, small)
        x[0] = 1
        return (x.sum() - x @ x) / (x @ x)

    assert ratio(1 / (np.sqrt(n) + 1)) == pytest.approx(omega, rel=1e-12)
    assert max(map(ratio, np.geomspace(1e-4, 1, 2000))) <= omega * (1 + 1e-12)


def test_on_a_gaussian_the_error_is_the_largest_times_the_mean_magnitude():
    x = RNG.normal(size=2**18).astype(np.float32)
    found = draws(Terngrad(), x, 1)[0]
    expected = np.abs(x).max() * np.sqrt(2 / np.pi) - 1
    assert ((found - x) ** 2).sum() / float(x @ x) == pytest.approx(expected, rel=0.02)
    assert 2.3 < expected < 3.3  # the 2.8 of the literature


def test_every_tensor_has_its_own_scale_and_bits():
    layout = qf.Layout.of({"a": (2,), "b": (), "c": (2, 2)})
    at = qf.core.parts.At(0, 1, 0, qf.Key.of(0), layout, 1)
    x = np.array([3, -3, 1e-3, -7, 7, -7, 0], np.float32)
    body = Terngrad().encode(x, at)
    np.testing.assert_array_equal(Terngrad().decode(body, at), x)
    assert len(body) == 3 * 4 + 1 + 1
    assert body[:12] == np.array([3, 1e-3, 7], "<f4").tobytes()


def test_entropy_coding_is_shorter_and_never_needs_two_bits():
    x, at = RNG.normal(size=2**14).astype(np.float32), client_at(2**14)
    planes, coded = (len(Terngrad(coding=coding).encode(x, at)) for coding in ("planes", "entropy"))
    p = np.abs(x).mean() / np.abs(x).max()
    entropy = -(p * np.log2(p / 2) + (1 - p) * np.log2(1 - p))
    assert 8 * coded / 2**14 == pytest.approx(entropy, abs=0.03)
    assert 8 * planes / 2**14 == pytest.approx(1 + p, abs=0.03)


def test_the_largest_number_and_the_least():
    largest, least = np.finfo(np.float32).max, np.float32(1e-45)
    found = draws(Terngrad(), np.array([largest, -1e38, least], np.float32), 200)
    assert set(np.unique(found).tolist()) <= {-float(largest), 0.0, float(largest)}
    np.testing.assert_array_equal(draws(Terngrad(), np.array([least, -least, 0], np.float32), 1)[0], [least, -least, 0])


def test_bodies_that_are_none_are_refused():
    at = client_at(8)
    for body in (b"", b"\0" * 4, b"\0" * 6, np.float32(-1).tobytes() + b"\0", np.float32(np.nan).tobytes() + b"\0"):
        with pytest.raises(PayloadError):
            Terngrad().decode(body, at)
    assert build("codec", "terngrad") == Terngrad()
