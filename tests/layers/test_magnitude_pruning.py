"""Gradual pruning: as many coordinates a round as the paper's sparsity leaves, the largest ones."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.distortion import Contractive
from qfedfm.core.errors import ConfigError
from qfedfm.core.parts import Codec
from tests.layers.sides import client_at

X = np.random.default_rng(0).normal(size=200).astype(np.float32)
PRUNING = {"initial": 0.9, "final": 0.1, "begin": 3, "end": 11}


def sparsity(t, s_initial=0.1, s_final=0.9, start=3, steps=8):
    """Equation 1 of the paper, for t in {start, …, start + steps}."""
    return s_final + (s_initial - s_final) * (1 - (t - start) / steps) ** 3


@pytest.mark.parametrize("round_", range(3, 12))
def test_the_fraction_is_what_the_papers_sparsity_leaves(round_):
    assert qf.layers.MagnitudePruning(**PRUNING).fraction(round_) == pytest.approx(1 - sparsity(round_), abs=1e-12)


def test_before_and_after_the_fraction_stays():
    codec = qf.layers.MagnitudePruning(**PRUNING)
    assert [codec.fraction(t) for t in (0, 1, 3)] == [pytest.approx(0.9)] * 3
    assert [codec.fraction(t) for t in (11, 12, 1000)] == [0.1] * 3


@pytest.mark.parametrize("round_", [1, 3, 4, 7, 10, 11, 20])
def test_the_largest_of_a_round_are_sent(round_):
    codec, at = qf.layers.MagnitudePruning(**PRUNING), replace(client_at(200), round=round_)
    found = codec.decode(codec.encode(X, at), at)
    kept = round(200 * (1 - sparsity(min(max(round_, 3), 11))))
    assert np.count_nonzero(found) == kept
    np.testing.assert_array_equal(found[found != 0], X[found != 0])
    assert np.abs(X[found == 0]).max() <= np.abs(X[found != 0]).min()
    assert ((found - X) ** 2).sum() <= (1 - codec.distortion(at.layout).delta) * (X**2).sum()


def test_bodies_shrink_from_round_to_round():
    codec, at = qf.layers.MagnitudePruning(**PRUNING), client_at(200)
    lengths = [len(codec.encode(X, replace(at, round=t))) for t in range(3, 12)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < 0.2 * lengths[0]


@dataclass(frozen=True)
class Bits(Codec):
    """A bit a value, and a bound that falls faster than their number grows."""

    name = "bits"

    def encode(self, x, at):
        return np.packbits(x > 0).tobytes()

    def decode(self, body, at):
        return np.zeros(at.layout.size, np.float32)

    def largest(self, layout):
        return -(-layout.size // 8)

    def distortion(self, layout):
        return Contractive(1 / layout.size**2)


def test_the_bounds_hold_in_every_round():
    """With a bit a value a body is longest at a half, where the indices are, and here the bound is weakest at first."""
    codec = qf.layers.MagnitudePruning(1.0, 0.1, 1, 20, values=Bits())
    layout = client_at(200).layout
    lengths = [len(codec.encode(X, replace(client_at(200), round=t))) for t in range(1, 21)]
    assert max(lengths) > 1.3 * lengths[0]
    assert max(lengths) <= codec.largest(layout) <= max(lengths) + 8
    assert codec.distortion(layout).delta == pytest.approx(1 / 200**2)
    assert qf.layers.MagnitudePruning(**PRUNING).distortion(layout) == Contractive(0.1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"initial": 0.1, "final": 0.2}, "final = 0.2"),
        ({"begin": 5, "end": 5}, "end = 5"),
        ({"initial": 0.0}, "initial"),
        ({"values": qf.layers.EF21(qf.layers.Bfloat16())}, "instead"),
    ],
)
def test_a_schedule_that_is_none_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        qf.layers.MagnitudePruning(**options)
