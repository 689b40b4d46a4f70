from dataclasses import replace

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At
from qfedfm.core.ring import Ring

LAYOUT = Layout.of({"w": (500,)})
X = np.random.default_rng(0).uniform(-1.5, 1.5, 500).astype(np.float32)


def at(number: int = 0) -> At:
    return At(0, 1, 0, Key.of(7).fold(number), LAYOUT, 1)


@pytest.mark.parametrize("bits", [2, 8, 16, 32])
@pytest.mark.parametrize(("rounding", "most"), [("nearest", 0.5), ("stochastic", 1.0)])
def test_the_error_is_below_a_step_and_what_lies_beyond_the_reach_is_at_its_ends(bits, rounding, most):
    codec = qf.layers.FixedPoint(reach=0.75, bits=bits, rounding=rounding)
    x, step = codec.decode(codec.encode(X, at()), at()), 0.75 / (2 ** (bits - 1) - 1)
    assert np.abs(x - np.clip(X, -0.75, 0.75)).max() <= most * step + 1e-7
    assert np.abs(x).max() <= np.float32(0.75)
    assert len(codec.encode(X, at())) == bits * 63
    np.testing.assert_allclose(codec.integers(X, at()) * step, x, atol=1e-7)


def test_stochastic_rounding_is_unbiased_within_the_reach():
    """The mean over 2,000 keys within five standard errors of a Bernoulli variable's, at 1/2 the largest."""
    codec = qf.layers.FixedPoint(reach=1.0, bits=4)
    inside = np.clip(X, -1, 1)
    mean = np.mean([codec.real(codec.integers(inside, at(number)), 1) for number in range(2000)], axis=0)
    assert np.abs(mean - inside).max() < 5 * (1 / 7) / 2 / np.sqrt(2000)


def test_a_weighted_sum_in_the_ring_is_the_weighted_mean_of_what_each_decodes_to():
    codec, weights = qf.layers.FixedPoint(reach=1.0, bits=12), [3, 1, 100]
    ring = Ring.holding(3, codec.bound, 100)
    total, plain = np.zeros(500, ring.dtype), np.zeros(500)
    for number, weight in enumerate(weights):
        x = np.roll(X, number)
        total += ring.elements(codec.integers(x, at(number))) * ring.dtype.type(weight)
        plain += weight * codec.decode(codec.encode(x, at(number)), at(number)).astype(np.float64)
    np.testing.assert_allclose(codec.real(ring.integers(total), 104), plain / 104, rtol=1e-6, atol=1e-7)


def test_refuses_what_it_never_sends():
    codec = qf.layers.FixedPoint(reach=1.0, bits=3)
    with pytest.raises(PayloadError, match="whole number of 4"):
        codec.decode(b"\xff" * codec.largest(LAYOUT), at())
    with pytest.raises(PayloadError, match="nan"):
        codec.integers(np.full(500, np.nan, np.float32), at())
    for wrong in ({"reach": 0.0}, {"reach": float("inf")}, {"reach": 1.0, "bits": 1}, {"reach": 1.0, "bits": 33}):
        with pytest.raises(ConfigError):
            qf.layers.FixedPoint(**wrong)
    assert replace(codec, bits=8).bound == 127
