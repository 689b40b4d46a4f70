"""Random-k: every set of k is as likely, and bias and variance are those of the papers, summed over all sets."""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chisquare

import qfedfm as qf
from qfedfm.core.distortion import Contractive, Unbiased
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.parts import At, Codec
from tests.layers.sides import client_at


def draws(codec: Codec, x: np.ndarray, count: int) -> np.ndarray:
    at = client_at(x.size)
    places = [replace(at, key=qf.Key.of(number)) for number in range(count)]
    return np.array([codec.decode(codec.encode(x, place), place) for place in places])


@pytest.mark.parametrize("k", [2, 3])
def test_every_set_of_coordinates_is_as_likely(k):
    found = draws(qf.layers.RandomK(k / 5, unbiased=False), np.ones(5, np.float32), 1000)
    seen = Counter(tuple(np.flatnonzero(row).tolist()) for row in found)
    counts = [seen[chosen] for chosen in combinations(range(5), k)]
    assert sum(counts) == 1000
    assert chisquare(counts).pvalue > 1e-3


def test_values_are_those_of_the_update_times_d_over_k():
    x = np.random.default_rng(0).normal(size=30).astype(np.float32)
    for unbiased, scale in ((True, 3), (False, 1)):
        for row in draws(qf.layers.RandomK(1 / 3, unbiased), x, 20):
            assert np.count_nonzero(row) == 10
            np.testing.assert_array_equal(row[row != 0], scale * x[row != 0])


@pytest.mark.parametrize("k", [1, 3, 6, 7])
def test_the_distortion_is_the_mean_over_all_sets(k):
    x = np.random.default_rng(1).normal(size=7)
    square = x @ x
    masked = [np.where(np.isin(np.arange(7), chosen), x, 0) for chosen in combinations(range(7), k)]
    layout = client_at(7).layout
    scaled = np.array(masked) * 7 / k
    np.testing.assert_allclose(scaled.mean(axis=0), x, atol=1e-12)
    omega = ((scaled - x) ** 2).sum(axis=1).mean() / square
    found = qf.layers.RandomK(k / 7).distortion(layout)
    assert isinstance(found, Unbiased)
    assert found.omega == pytest.approx(omega, abs=1e-12)
    delta = 1 - ((np.array(masked) - x) ** 2).sum(axis=1).mean() / square
    found = qf.layers.RandomK(k / 7, unbiased=False).distortion(layout)
    assert isinstance(found, Contractive)
    assert found.delta == pytest.approx(delta, abs=1e-12)


def test_only_values_travel():
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    assert len(qf.layers.RandomK(0.1).encode(x, client_at(1000))) == 400
    half = qf.layers.RandomK(0.1, unbiased=False, values=qf.layers.Bfloat16())
    assert len(half.encode(x, client_at(1000))) == half.largest(client_at(1000).layout) == 200


def test_clients_and_rounds_draw_their_own_coordinates():
    found = draws(qf.layers.RandomK(0.5), np.ones(64, np.float32), 2)
    assert (found[0] != found[1]).any()


def test_beyond_float32_values_saturate():
    largest = np.finfo(np.float32).max
    x = np.array([largest, -largest, largest, -largest], np.float32)
    for row in draws(qf.layers.RandomK(0.25), x, 8):
        np.testing.assert_array_equal(row[row != 0], x[row != 0])


@dataclass(frozen=True)
class Coins(Codec):
    """A random half of the coordinates, doubled: unbiased with ω = 1."""

    name = "coins"

    def encode(self, x, at):
        return x.tobytes()

    def decode(self, body, at):
        x = np.frombuffer(body, np.float32)
        return np.where(at.key.fold("random-k").numpy().random(x.size) < 0.5, 2 * x, 0).astype(np.float32)

    def largest(self, layout):
        return 4 * layout.size

    def distortion(self, layout):
        return Unbiased(1.0)


def test_variances_multiply_with_that_of_the_values():
    x = np.random.default_rng(2).normal(size=8).astype(np.float32)
    layout, square = client_at(8).layout, float(x @ x)
    codec = qf.layers.RandomK(0.25, values=Coins())
    assert codec.distortion(layout) == Unbiased(7.0)
    found = draws(codec, x, 1000)
    squares = ((found - x) ** 2).sum(axis=1) / square
    assert abs(squares.mean() - 7) < 5 * squares.std() / np.sqrt(1000)
    assert (np.abs(found.mean(axis=0) - x) < 5 * found.std(axis=0) / np.sqrt(1000)).all()
    scaled = qf.layers.RandomK(0.25, unbiased=False, values=Coins())
    assert scaled.distortion(layout) == Contractive(0.125)
    squares = ((draws(scaled, x, 1000) - x) ** 2).sum(axis=1) / square
    assert abs(squares.mean() - 0.875) < 5 * squares.std() / np.sqrt(1000)


def test_unbiased_with_biased_values_is_refused():
    with pytest.raises(ConfigError, match="unbiased = false"):
        qf.layers.RandomK(values=qf.layers.Bfloat16())
    with pytest.raises(ConfigError, match="instead"):
        qf.layers.RandomK(values=qf.layers.EF21(qf.layers.Bfloat16()))


def test_a_body_of_another_length_is_refused():
    at: At = client_at(8)
    body = qf.layers.RandomK(0.5).encode(np.ones(8, np.float32), at)
    for altered in (body[:-1], body + b"\0", b""):
        with pytest.raises(PayloadError):
            qf.layers.RandomK(0.5).decode(altered, at)
