"""Adaptive levels: the widths against brute force, the error and the size against what was asked for."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.parts import At
from qfedfm.core.registry import build
from qfedfm.layers.dynamic_qsgd import DynamicQsgd
from qfedfm.layers.qsgd import Qsgd
from tests.layers.sides import expected_error

RNG = np.random.default_rng(19)


def place(*sizes: int) -> At:
    return At(0, 1, 0, qf.Key.of(0), qf.Layout.of({str(i): (size,) for i, size in enumerate(sizes)}), 1)


def vector(at: At, spread: float = 3.0) -> np.ndarray:
    parts = [RNG.normal(size=e.shape) * 10 ** RNG.uniform(-spread, 0) for e in at.layout]
    return np.concatenate(parts).astype(np.float32)


def widths_of(body: bytes, count: int) -> list[int]:
    """The widths, as four planes at the front of the body."""
    planes = np.unpackbits(np.frombuffer(body, np.uint8, 4 * -(-count // 8)).reshape(4, -1), axis=1)[:, :count]
    return (planes.T @ [1, 2, 4, 8]).tolist()


def length(sizes: list[int], widths: np.ndarray) -> int:
    """Bytes of a body of seven tensors with all signs."""
    groups = sum(int(w) * -(-int(np.dot(sizes, widths == w)) // 8) for w in np.unique(widths))
    return 4 + 4 * 7 + groups + -(-sum(sizes) // 8)


def bound(x: np.ndarray, at: At, widths) -> float:
    """Σ n R²/(4 (2^w − 1)²)."""
    tensors = [x[e.start : e.stop].astype(np.float64) for e in at.layout]
    return sum(len(t) * np.abs(t).max() ** 2 / 4 / (2**w - 1) ** 2 for t, w in zip(tensors, widths, strict=True))


@pytest.mark.parametrize("options", [{"bits": 8.0}, {"nmse": 0.2}])
def test_unbiased_with_the_variance_of_stochastic_rounding(options):
    at, codec = place(300, 40), DynamicQsgd(**options)
    x = vector(at, 0.5)
    keys = [replace(at, key=at.key.fold(number)) for number in range(600)]
    found = np.array([codec.decode(codec.encode(x, key), key) for key in keys], np.float64)
    widths = widths_of(codec.encode(x, at), 2)
    assert min(widths) > 1
    variance = 0.0
    for entry, width in zip(at.layout, widths, strict=True):
        tensor = slice(entry.start, entry.stop)
        step = float(np.abs(x[tensor]).max()) / (2**width - 1)
        variance += expected_error(x[tensor], step)
        np.testing.assert_allclose(found[:, tensor].mean(axis=0), x[tensor], atol=5 * step / 2 / np.sqrt(600))
        np.testing.assert_allclose(found[:, tensor] / step, (found[:, tensor] / step).round(), atol=1e-4)
    squares = ((found - x) ** 2).sum(axis=1)
    assert squares.mean() == pytest.approx(variance, abs=5 * squares.std() / np.sqrt(600))


@pytest.mark.parametrize("target", [1e-6, 1e-3, 0.03, 0.5, 3.0])
def test_the_expected_error_is_within_the_target_and_one_bit_less_is_not(target):
    for _ in range(10):
        at = place(*RNG.integers(1, 300, 6).tolist())
        x = vector(at)
        widths = widths_of(DynamicQsgd(nmse=target).encode(x, at), 6)
        tensors = [x[e.start : e.stop] for e in at.layout]
        steps = [float(np.abs(t).max()) / (2**w - 1) for t, w in zip(tensors, widths, strict=True)]
        allowed = target * float(x.astype(np.float64) @ x)
        assert sum(map(expected_error, tensors, steps)) <= bound(x, at, widths) <= allowed
        if max(widths) > 1:
            decreases = {
                t: (bound(x, at, less) - bound(x, at, widths)) / len(tensors[t])
                for t in range(6)
                if widths[t] > 1
                for less in [[w - (i == t) for i, w in enumerate(widths)]]
            }
            last = min(decreases, key=decreases.get)
            assert bound(x, at, [w - (i == last) for i, w in enumerate(widths)]) > allowed


@pytest.mark.parametrize("options", [{"bits": 5.7}, {"nmse": 0.01}])
def test_no_widths_of_that_size_have_a_smaller_variance(options):
    for sizes in ((64, 64, 64, 64), (8, 128, 32, 72)):
        at = place(*sizes)
        x = vector(at, 1.5)
        found = widths_of(DynamicQsgd(**options).encode(x, at), 4)
        size = int(np.dot(sizes, found))
        best = min(
            bound(x, at, widths)
            for widths in itertools.product(range(1, 10), repeat=4)
            if np.dot(sizes, widths) <= size
        )
        if len(set(sizes)) == 1 or "nmse" in options:
            assert bound(x, at, found) == pytest.approx(best, rel=1e-12)
        assert bound(x, at, found) <= 1.5 * best


@pytest.mark.parametrize("bits", [2.0, 3.0, 4.3, 8.0, 17.0])
def test_the_body_is_within_the_budget_and_leaves_no_bit_that_would_fit(bits):
    for sizes in RNG.integers(200, 1500, (10, 7)).tolist():
        at = place(*sizes)
        x, codec = vector(at), DynamicQsgd(bits=bits)
        body, budget = codec.encode(x, at), int(bits * sum(sizes) / 8)
        widths = np.array(widths_of(body, 7))
        assert len(body) <= codec.largest(at.layout)
        if (widths > 1).any():
            assert len(body) <= budget

        assert (widths == 1).all() or length(sizes, widths) <= budget
        for tensor in np.flatnonzero(widths < 15):
            assert length(sizes, widths + (np.arange(7) == tensor)) > budget


def test_tensors_of_different_scales_err_far_less_than_with_equal_levels():
    sizes = [3072] * 16
    at = place(*sizes)
    scales = np.repeat(10.0 ** np.linspace(-2, 0, 16), 3072)
    x = (RNG.normal(size=3072 * 16) * scales).astype(np.float32)
    equal, dynamic = Qsgd(levels=7, bucket="tensor"), DynamicQsgd(bits=4.02)
    bodies = equal.encode(x, at), dynamic.encode(x, at)
    errors = [((c.decode(b, at) - x) ** 2).sum() for c, b in zip((equal, dynamic), bodies, strict=True)]
    assert len(bodies[1]) <= 1.08 * len(bodies[0])
    assert errors[1] < 0.3 * errors[0]


def test_a_tensor_of_zeros_costs_four_bits():
    at = place(9, 5, 5)
    x = np.zeros(19, np.float32)
    assert DynamicQsgd().encode(x, at) == b"\0" * 4
    x[9] = -2
    body = DynamicQsgd(nmse=100.0).encode(x, at)
    assert widths_of(body, 3) == [0, 1, 0]
    assert len(body) == 4 + 4 + 1 + 1
    np.testing.assert_array_equal(DynamicQsgd(nmse=100.0).decode(body, at), x)


def test_the_ends_of_float32():
    largest, at = np.finfo(np.float32).max, place(2, 2, 3)
    x = np.array([largest, -largest, 1e-45, -1e-45, 1e38, 0, -largest], np.float32)
    for options in ({}, {"bits": 2.0}, {"nmse": 1e-9}):
        found = DynamicQsgd(**options).decode(DynamicQsgd(**options).encode(x, at), at)
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found[[0, 1, 2, 3, 6]], x[[0, 1, 2, 3, 6]])


@pytest.mark.parametrize(
    "options", [{"bits": 1.9}, {"bits": 18}, {"nmse": 0}, {"nmse": -1}, {"bits": 4, "nmse": 0.1}, {"nmse": "small"}]
)
def test_options_out_of_range_and_two_options_are_refused(options):
    with pytest.raises(ConfigError):
        build("codec", {"name": "dynamic-qsgd", **options})


def test_bodies_that_are_none_are_refused():
    at = place(8)
    good = DynamicQsgd().encode(np.arange(8, dtype=np.float32), at)
    for body in (b"", good[:-1], good + b"\0", b"\x80\0\0\0" + np.float32(-1).tobytes() + b"\0", b"\xff" * 4):
        with pytest.raises(PayloadError):
            DynamicQsgd().decode(body, at)
