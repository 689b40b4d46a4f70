"""Masks drawn with learnt probabilities: their mean, their bytes, and where they may stand."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.distortion import Bounded
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.engine.experiment import Experiment
from qfedfm.layers.bernoulli_mask import BernoulliMask
from tests.layers.sides import client_at

CODEC = BernoulliMask()
THETA = np.float32([0, 1e-3, 0.1, 0.25, 0.5, 0.9, 1, 1])


def at(model, number=0):
    return replace(client_at(len(model)), key=qf.Key.of(number), model=model)


def mask(x, where):
    return CODEC.decode(CODEC.encode(x, where), where) + where.model


def test_the_mean_of_the_masks_is_what_the_client_learnt():
    model = np.random.default_rng(0).random(THETA.size).astype(np.float32)
    masks = np.array([mask(THETA - model, at(model, number)) for number in range(4000)])
    np.testing.assert_allclose(masks, np.rint(masks), atol=1e-6)  # (m − θ) + θ in float32
    deviation = np.sqrt(THETA * (1 - THETA) / len(masks))
    assert (np.abs(masks.mean(axis=0) - THETA) <= 4 * deviation + 1e-6).all()
    pairs = np.cov(np.rint(masks[:, 2:6]).T)  # independent from coordinate to coordinate
    assert np.abs(pairs - np.diag(np.diag(pairs))).max() < 0.02


def test_what_lies_beyond_is_cut_off():
    model = np.float32([0.5, 0.5, 0, 1, -2, 7])
    x = np.float32([9, -9, -1e-30, 1e-30, 3, -7])
    for number in range(20):
        where = at(model, number)
        assert (CODEC.decode(CODEC.encode(x, where), where) + model).tolist() == [1, 0, 0, 1, 1, 0]


@pytest.mark.parametrize("theta", [0.0, 1e-4, 0.01, 0.1, 0.3, 0.5, 0.8, 0.99, 1.0])
def test_the_bytes_are_the_entropy(theta):
    d = 1 << 16
    where = at(np.full(d, 0.25, np.float32))
    body = CODEC.encode(np.full(d, theta - 0.25, np.float32), where)
    entropy = -sum(p * np.log2(p) for p in (theta, 1 - theta) if p)
    assert len(body) <= 1.09 * entropy * d / 8 + 12
    assert len(body) <= d // 8 + 4 == CODEC.largest(where.layout)
    ones = int((CODEC.decode(body, where) > 0).sum())
    assert int.from_bytes(body[:3], "little") == ones


def test_a_mask_at_one_half_has_a_bit_a_coordinate():
    where = at(np.full(1000, 0.5, np.float32))
    body = CODEC.encode(np.zeros(1000, np.float32), where)
    assert len(body) == 2 + 1 + 125
    ones = np.unpackbits(np.frombuffer(body, np.uint8, offset=3)).astype(bool)
    decoded = CODEC.decode(body, where)
    assert set(decoded.tolist()) == {-0.5, 0.5}
    assert np.array_equal(decoded > 0, ones) or np.array_equal(decoded > 0, ~ones)


def test_the_same_key_gives_the_same_bytes_and_another_one_others():
    model = np.full(300, 0.5, np.float32)
    x = np.zeros(300, np.float32)
    assert CODEC.encode(x, at(model)) == CODEC.encode(x.copy(), at(model.copy()))
    assert CODEC.encode(x, at(model)) != CODEC.encode(x, at(model, 1))


def test_without_a_model_the_update_is_the_probability():
    where = client_at(THETA.size)
    zeros = np.zeros(THETA.size, np.float32)
    assert CODEC.encode(THETA, where) == CODEC.encode(THETA, replace(where, model=zeros))
    assert not CODEC.decode(CODEC.encode(zeros, where), where).any()


def test_every_mask_of_few_coordinates_comes_back():
    for d in range(1, 8):
        where = at(np.zeros(d, np.float32))
        for bits in itertools.product([0.0, 1.0], repeat=d):
            x = np.float32(bits)
            np.testing.assert_array_equal(CODEC.decode(CODEC.encode(x, where), where), x)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x05",
        b"\xff" + bytes(9),
        b"\x02\x00\x07",  # a bitmap of three ones where two are announced
        b"\x00\x00",
        b"\x02\x00",
    ],
)
def test_what_is_no_mask_is_refused(body):
    with pytest.raises(PayloadError):
        CODEC.decode(body, at(np.zeros(8, np.float32)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value):
    x = np.zeros(3, np.float32)
    wrong = np.float32([0, value, 0])
    with pytest.raises(PayloadError):
        CODEC.encode(wrong, at(x))
    with pytest.raises(PayloadError):
        CODEC.encode(x, at(wrong))
    with pytest.raises(PayloadError):
        CODEC.encode(x, replace(at(x), model=np.zeros(4, np.float32)))


def test_it_stands_in_no_other_codec_and_not_on_the_way_down():
    assert CODEC.distortion(client_at(3).layout) == Bounded(np.inf)
    for make in (qf.layers.ErrorFeedback, qf.layers.EF21, lambda inner: qf.layers.TopK(values=inner)):
        with pytest.raises(ConfigError, match="a codec of updates"):
            make(CODEC)
    with pytest.raises(ConfigError, match="bernoulli-mask"):
        Experiment.of({"method": {"layers": [{"name": "error-feedback", "codec": "bernoulli-mask"}]}}).arm("method")
    with pytest.raises(ConfigError, match="on the way down"):
        Experiment.of({"method": {"down": "bernoulli-mask"}}).arm("method")
