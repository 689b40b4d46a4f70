"""QSGD against its closed forms, the worst vectors there are, and figures that others have published."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.registry import build
from qfedfm.layers.qsgd import Qsgd
from tests.layers.sides import client_at, draws, expected_error, nmse

RNG = np.random.default_rng(7)
X = (RNG.normal(size=60) * RNG.choice([0.01, 1, 5], 60)).astype(np.float32)


def norms(x: np.ndarray, kind: str) -> float:
    return float(np.linalg.norm(x.astype(np.float64), 2 if kind == "l2" else np.inf))


@pytest.mark.parametrize("coding", ["planes", "entropy"])
@pytest.mark.parametrize("levels", [1, 4, 31])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_mean_and_variance_are_those_of_the_formula(norm, levels, coding):
    codec = Qsgd(norm=norm, levels=levels, bucket="tensor", coding=coding)
    found = draws(codec, X, 20000)
    step = norms(X, norm) / levels
    variance = expected_error(X, step)
    np.testing.assert_allclose(found.mean(axis=0), X, atol=5 * step / 2 / np.sqrt(20000))
    squares = ((found - X) ** 2).sum(axis=1)
    assert squares.mean() == pytest.approx(variance, abs=5 * squares.std() / np.sqrt(20000))
    assert np.abs(found / step - np.round(found / step)).max() < 1e-4
    assert np.abs(found - X).max() < step * (1 + 1e-6)


@pytest.mark.parametrize("levels", [1, 2, 5, 12])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_no_vector_errs_more_than_omega_and_one_errs_as_much(norm, levels):
    omega = Qsgd(norm=norm, levels=levels, bucket="tensor").distortion(client_at(40).layout).omega
    worst = 0.0
    for trial in range(400):
        x = RNG.normal(size=40) ** RNG.choice([1, 3, 5])
        if trial % 2:  # one large coordinate, all others alike
            x = np.full(40, 10.0 ** RNG.uniform(-2.5, 0))
            x[0] = 1
        worst = max(worst, expected_error(x, norms(x, norm) / levels) / (x @ x))
    assert worst <= omega * (1 + 1e-9)
    if norm == "linf":
        x = np.full(40, 1 / (2 + 2 * omega))
        x[0] = levels
    else:
        x = np.ones(40)
    attained = expected_error(x, norms(x, norm) / levels) / (x @ x)
    if norm == "linf" or np.sqrt(40) >= 2 * levels:
        assert attained == pytest.approx(omega, rel=1e-9)
    if norm == "l2":
        assert omega <= min(40 / levels**2, np.sqrt(40) / levels)  # that of the paper


def test_the_expected_error_on_a_gaussian_is_what_others_report():
    """Scaled by the maximum at d = 2^18 the literature has 2.8 with one bit of level and 0.076 with three."""
    x = RNG.normal(size=2**18).astype(np.float32)
    assert nmse(Qsgd(levels=1, bucket="tensor"), x) == pytest.approx(2.8, abs=0.3)
    assert nmse(Qsgd(levels=7, bucket="tensor"), x) == pytest.approx(0.076, rel=0.1)
    assert nmse(Qsgd(norm="l2", levels=1, bucket="tensor"), x) == pytest.approx(512 * np.sqrt(2 / np.pi) - 1, rel=0.05)


def test_fedpaq_rounds_as_its_equation_says():
    """ξᵢ is l/s with probability 1 − (s|xᵢ|/‖x‖ − l) and (l + 1)/s else: 0.6 of ‖x‖ with s = 2, 0.8 of it."""
    found = draws(Qsgd(norm="l2", levels=2, bucket="tensor"), np.array([-3, 4], np.float32), 40000)
    values, counts = np.unique(found[:, 0].round(4), return_counts=True)
    np.testing.assert_allclose(values, [-5, -2.5])
    assert counts[0] / 40000 == pytest.approx(0.2, abs=0.01)
    values, counts = np.unique(found[:, 1].round(4), return_counts=True)
    np.testing.assert_allclose(values, [2.5, 5])
    assert counts[1] / 40000 == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize(("bucket", "edges"), [(4, [0, 4, 8, 10]), ("tensor", [0, 3, 10]), ("vector", [0, 10])])
def test_every_bucket_is_scaled_by_its_own_norm(bucket, edges):
    layout = qf.Layout.of({"a": (3,), "b": (7,)})
    x = (RNG.normal(size=10) * 10.0 ** np.arange(10)).astype(np.float32)
    codec, at = Qsgd(levels=3, bucket=bucket), replace(client_at(1), layout=layout)
    found = codec.decode(codec.encode(x, at), at)
    for start, stop in itertools.pairwise(edges):
        step = np.abs(x[start:stop]).max() / 3
        largest = start + np.abs(x[start:stop]).argmax()
        np.testing.assert_allclose(found[largest], x[largest], rtol=1e-6)
        np.testing.assert_allclose(found[start:stop] / step, (found[start:stop] / step).round(), atol=1e-5)


def test_a_body_is_as_long_as_its_fields():
    x, at = X.copy(), client_at(60)
    x[:20] = 0
    body = Qsgd(levels=5, bucket=16).encode(x, at)
    above = np.count_nonzero(Qsgd(levels=5, bucket=16).decode(body, at))
    assert 0 < above <= 40
    assert len(body) == 4 * 4 + 3 * 8 + -(-above // 8)
    assert len(Qsgd(levels=5, bucket=16).encode(np.zeros(60, np.float32), at)) == 4 * 4 + 3 * 8


def test_entropy_coding_takes_the_entropy_of_the_signed_levels():
    x, at = RNG.normal(size=2**16).astype(np.float32), client_at(2**16)
    codec = Qsgd(levels=7, coding="entropy")
    body = codec.encode(x, at)
    step = np.repeat(np.abs(x).reshape(-1, 512).max(axis=1) / 7, 512)
    p = np.unique(np.round(codec.decode(body, at) / step), return_counts=True)[1] / x.size
    entropy = -(p @ np.log2(p))
    assert 0 < 8 * len(body) / x.size - 32 / 512 - entropy < 0.02
    assert len(body) < 0.85 * len(Qsgd(levels=7).encode(x, at))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_ends_of_float32(norm):
    codec, largest = Qsgd(norm=norm, levels=3, bucket="tensor"), np.finfo(np.float32).max
    x = np.array([largest, -largest, 0, 1e38], np.float32)
    found = draws(codec, x, 200)
    assert np.abs(found).max() <= largest
    if norm == "linf":
        np.testing.assert_array_equal(found[:, :2], np.tile([largest, -largest], (200, 1)))
    small = np.array([1e-45, -3e-45, 0], np.float32)
    found = draws(codec, small, 2000).mean(axis=0)
    np.testing.assert_allclose(found, small.astype(np.float64), atol=7e-46)  # half of the least float32


def test_bodies_that_claim_too_much_are_refused():
    at = client_at(8)
    for scale, levels in ((-1.0, 0), (np.nan, 0), (np.inf, 0), (1.0, 0b11111111)):
        body = np.float32(scale).tobytes() + bytes([levels] * 3) + (b"\0" if levels else b"")
        with pytest.raises(PayloadError):
            Qsgd(levels=5, bucket="tensor").decode(body, at)
    seven = Qsgd(levels=7, bucket="tensor", coding="entropy").encode(np.arange(8, dtype=np.float32), at)
    with pytest.raises(PayloadError, match="level"):
        Qsgd(levels=5, bucket="tensor", coding="entropy").decode(seven, at)


def test_keys_and_clients_differ():
    at = client_at(60)
    assert Qsgd(levels=1).encode(X, at) != Qsgd(levels=1).encode(X, replace(at, key=at.key.fold(1)))


@pytest.mark.parametrize(
    "options",
    [{"levels": 0}, {"levels": 2048}, {"bucket": 0}, {"bucket": "layer"}, {"norm": "l1"}, {"coding": "elias"}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        build("codec", {"name": "qsgd", **options})
