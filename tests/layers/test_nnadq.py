"""NNADQ against its equations, one coordinate after the other, and against the objective that its levels minimise."""

import math

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.distortion import Bounded
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.parts import At
from qfedfm.core.registry import build
from qfedfm.layers.nnadq import Nnadq
from tests.layers.sides import client_at, nmse

RNG = np.random.default_rng(23)
LARGEST = float(np.finfo(np.float32).max)


def round_trip(codec, x: np.ndarray) -> np.ndarray:
    return codec.decode(codec.encode(x, client_at(x.size)), client_at(x.size))


def by_hand(v: list[float], weight: float) -> tuple[list[float], float, int]:
    """The values, d and s, in float64."""
    o = -(max(v) + min(v)) / 2
    d = max(abs(value + o) for value in v)
    if d == 0:
        return [-o] * len(v), 0.0, 0
    s = math.floor(max(1, math.sqrt(math.log(4) * 32 * d / weight)))
    return [math.copysign(d * round(s * abs(value + o) / d) / s, value + o) - o for value in v], d, s


@pytest.mark.parametrize("weight", [0.001, 0.3, 50.0])
@pytest.mark.parametrize("low_high", [(-1, 1), (-3, -1), (0.2, 0.9), (-5, 0.1), (-7, -6.9)])
def test_values_are_those_of_the_equations(weight, low_high):
    x = RNG.uniform(*low_high, 200).astype(np.float32)
    expected, d, s = by_hand(x.tolist(), weight)
    found = round_trip(Nnadq(weight=weight), x)
    near = np.abs(found - expected) < 1e-6 * np.abs(x).max() + d / s * 1e-6
    assert near.mean() > 0.98  # the others are ties between two levels, but for the rounding of o and d
    assert np.abs(found - x).max() <= d / (2 * s) * (1 + 1e-4) + 1e-6 * np.abs(x).max()
    assert len(np.unique(found)) <= 2 * s + 1
    assert np.sign(found).min() >= np.sign(x).min() or s == 1
    ends = [x.min(), x.max()]
    np.testing.assert_allclose([found.min(), found.max()], ends, atol=1e-6 * np.abs(x).max())


@pytest.mark.parametrize("d", [1e-4, 0.02, 1.0, 33.0])
@pytest.mark.parametrize("weight", [0.001, 0.1])
def test_the_levels_minimise_error_and_bits(d, weight):
    s = by_hand([-d, d], weight)[2]
    cost = [d / t**2 + weight / 32 * math.log2(t) for t in range(1, 3000)]
    assert abs(1 + int(np.argmin(cost)) - s) <= 1
    x = np.linspace(-d, d, 5001).astype(np.float32)
    assert len(np.unique(round_trip(Nnadq(weight=weight), x))) == 2 * s + 1


def test_a_body_counts_offset_range_levels_and_signs():
    layout = qf.Layout.of({"a": (40,), "b": (3,), "c": (30,)})
    at = At(0, 1, 0, qf.Key.of(0), layout, 1)
    x = np.concatenate([np.linspace(0, 2, 40), [5, 5, 5], np.linspace(-0.01, 0.01, 30)]).astype(np.float32)
    body = Nnadq(weight=0.1).encode(x, at)
    s = [by_hand(x[part].tolist(), 0.1)[2] for part in (slice(0, 40), slice(40, 43), slice(43, 73))]
    assert s == [21, 0, 2]
    found = Nnadq(weight=0.1).decode(body, at)
    above = sum(
        int(np.count_nonzero(np.abs(found[part] - mid) > 1e-6)) for part, mid in ((slice(40), 1), (slice(43, 73), 0))
    )
    assert len(body) == 3 * 8 + 5 * 5 + 2 * 4 + -(-above // 8)
    np.testing.assert_array_equal(found[40:43], [5, 5, 5])
    np.testing.assert_array_equal(np.frombuffer(body, "<f4", 3), [-1, -5, 0])


def test_no_multiple_of_the_length_bounds_the_error_but_half_of_the_maximum_does():
    x = np.zeros(1000, np.float32)
    x[:2] = 1, -0.3  # one level: the zeros become −0.3
    assert nmse(Nnadq(weight=1e3), x) > 50
    assert Nnadq().distortion(client_at(3).layout) == Bounded(0.5)
    for trial in range(300):
        x = (RNG.normal(size=30) ** RNG.choice([1, 3, 7]) * 10.0 ** RNG.integers(-6, 6)).astype(np.float32)
        x += np.float32(RNG.normal() * (trial % 3))
        found = round_trip(Nnadq(weight=10.0 ** RNG.integers(-6, 6)), x)
        assert np.abs(found.astype(np.float64) - x).max() <= 0.5 * np.abs(x).max() * (1 + 1e-6)
    quarters = round_trip(Nnadq(weight=1e3), np.array([0, 4, 1.01, 0.99], np.float32))
    np.testing.assert_array_equal(quarters, [0, 4, 2, 0])


def test_error_feedback_remembers_no_more_than_the_largest_change():
    codec = qf.layers.ErrorFeedback(Nnadq(weight=1e3))
    at = client_at(200)
    memory = codec.memory(at.layout)
    for _ in range(200):
        _, memory = codec.send(RNG.normal(size=200).astype(np.float32).clip(-3, 3), memory, at)
        assert np.abs(memory["error"]).max() <= 3.0001
    for outer in (codec, qf.layers.EF21(Nnadq())):
        assert outer.distortion(at.layout) == Bounded(0.5)


def test_constant_tensors_come_back_exactly_and_so_do_the_ends_of_float32():
    for value in (0.0, -0.0, 0.7, -1e-45, -LARGEST):
        x = np.full(5, value, np.float32)
        np.testing.assert_array_equal(round_trip(Nnadq(), x), x)
    x = np.array([LARGEST, -LARGEST, 0, LARGEST / 2], np.float32)
    np.testing.assert_allclose(round_trip(Nnadq(), x), x, atol=LARGEST / 65535)
    x = np.array([1e-45, -3e-45, 0], np.float32)
    assert np.abs(round_trip(Nnadq(), x).astype(np.float64) - x).max() <= 1.5e-45


def test_at_most_sixteen_bits():
    x = np.linspace(-1, 1, 2**18).astype(np.float32)
    codec = Nnadq(weight=1e-30)
    body = codec.encode(x, client_at(2**18))
    assert len(body) <= 8 + 17 * 2**15
    assert len(np.unique(codec.decode(body, client_at(2**18)))) == 2 * 65535 + 1


def test_bodies_that_claim_too_much_are_refused():
    at, codec = client_at(8), Nnadq(weight=0.1)
    levels = {0.0: 0, 0.02: 2, 1.0: 21}
    for offset, span, planes in (
        (0, -1.0, b""), (0, np.nan, b""), (np.nan, 0.0, b""), (np.inf, 0.0, b""),
        (0, 0.02, b"\xff\xff\0"), (0, 0.0, b"\0"),
    ):  # fmt: skip
        with pytest.raises(PayloadError):
            codec.decode(np.array([offset, span], "<f4").tobytes() + planes, at)
    assert [by_hand([-d, d], 0.1)[2] for d in levels] == list(levels.values())
    with pytest.raises(ConfigError):
        build("codec", {"name": "nnadq", "weight": 0})
