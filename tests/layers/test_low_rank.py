"""The codecs of tensor trains and truncated SVDs, on layouts of matrices, which those of the laws are not."""

import math

import numpy as np
import pytest
import torch

import qfedfm as qf
from qfedfm.core.distortion import Contractive
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At
from qfedfm.core.registry import find

LAYOUT = Layout.of({
    "layer.0.q.lora_A.weight": (4, 48), "layer.0.q.lora_B.weight": (32, 4),
    "layer.1.q.lora_A.weight": (4, 48), "layer.1.q.lora_B.weight": (32, 4),
    "norm.weight": (20,), "conv.weight": (6, 4, 3, 3), "scale": (), "head.weight": (3, 32), "head.bias": (3,),
})  # fmt: skip
AT = At(0, 1, 2, Key.of(0), LAYOUT, 10)
CODECS = {"svd": qf.layers.TruncatedSvd, "train": qf.layers.TensorTrainCodec}
PRECISIONS = ("float32", "bfloat16", "int8")
each_codec = pytest.mark.parametrize("codec", CODECS)
each_precision = pytest.mark.parametrize("precision", PRECISIONS)


def update(seed: int = 0) -> np.ndarray:
    """Tensors of different sizes whose singular values fall off."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for entry in LAYOUT:
        x = rng.normal(size=entry.shape) * rng.uniform(0.2, 2)
        if len(entry.shape) > 1:
            u, s, v = np.linalg.svd(x.reshape(entry.shape[0], -1), full_matrices=False)
            x = ((u * s / np.arange(1, len(s) + 1) ** 1.5) @ v).reshape(entry.shape)
        tensors[entry.name] = x
    return LAYOUT.pack(tensors)


def off(x: np.ndarray, y: np.ndarray) -> float:
    wide = x.astype(np.float64)
    return float(np.linalg.norm(y.astype(np.float64) - wide) / np.linalg.norm(wide))


@each_codec
@each_precision
@pytest.mark.parametrize("error", [0.01, 0.1, 0.4, 0.9])
def test_the_error_is_within_what_was_asked_for(codec, precision, error):
    part = CODECS[codec](error=error, precision=precision)
    assert part.distortion(LAYOUT) == Contractive(1 - error**2)
    for seed in range(5):
        x = update(seed)
        body = part.encode(x, AT)
        assert len(body) <= part.largest(LAYOUT)
        assert off(x, part.decode(body, AT)) <= error


@each_codec
@pytest.mark.parametrize("x", [np.ones(LAYOUT.size), -update(), update() * 1e-42, update() * 1e37], ids=range(4))
def test_the_error_is_kept_at_the_ends_of_float32(codec, x):
    x = x.astype(np.float32)
    for precision in PRECISIONS:
        part = CODECS[codec](error=0.2, precision=precision)
        assert off(x, part.decode(part.encode(x, AT), AT)) <= 0.2


@each_codec
@each_precision
@pytest.mark.parametrize("bits", [2.0, 3.5, 6.0, 20.0])
def test_the_budget_is_kept_and_used(codec, precision, bits):
    part, x = CODECS[codec](bits=bits, precision=precision), update()
    body = part.encode(x, AT)
    back = part.decode(body, AT)
    least = 2 + 24 * (4 if precision == "float32" else 2) + 18  # ranks: at most three of each of six matrices
    assert len(body) <= max(bits / 8 * LAYOUT.size, least)
    assert off(x, back) <= 1
    less = CODECS[codec](bits=bits / 2, precision=precision).encode(x, AT)
    assert len(less) <= len(body)
    assert part.distortion(LAYOUT).delta == 0


@each_codec
def test_more_bits_are_less_error(codec):
    x = update()
    errors = [
        off(x, part.decode(part.encode(x, AT), AT))
        for part in (CODECS[codec](bits=bits, precision="float32") for bits in (1.0, 4.0, 8.0, 16.0, 32.0))
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.3
    assert errors[-1] < 0.05


def test_exactly_low_rank_tensors_cost_what_their_factors_do_and_come_back():
    rng = np.random.default_rng(1)
    x = LAYOUT.pack({
        entry.name: np.multiply.outer(rng.normal(size=entry.shape[0]), rng.normal(size=entry.shape[1:]))
        if len(entry.shape) > 1 else rng.normal(size=entry.shape)
        for entry in LAYOUT
    })  # fmt: skip
    part = qf.layers.TruncatedSvd(error=1e-5, precision="float32")
    body = part.encode(x, AT)
    numbers = 2 * (4 + 48) + 2 * (32 + 4) + (6 + 36) + (3 + 32) + 20 + 1 + 3
    assert len(body) == 2 + 6 + 4 * numbers
    np.testing.assert_allclose(part.decode(body, AT), x, atol=1e-6 * np.abs(x).max())


def test_the_twin_is_torchs_truncated_svd():
    layout = Layout.of({"w": (24, 40)})
    at = At(0, 1, 2, Key.of(0), layout, 10)
    x = np.random.default_rng(2).normal(size=960).astype(np.float32)
    u, s, v = torch.linalg.svd(torch.from_numpy(x).double().reshape(24, 40), full_matrices=False)
    for rank in (1, 5, 11):
        best = ((u[:, :rank] * s[:rank]) @ v[:rank]).numpy().ravel()
        part = qf.layers.TruncatedSvd(bits=(3 + 4 * rank * 64) * 8 / 960, precision="float32")
        body = part.encode(x, at)
        assert len(body) == 3 + 4 * rank * 64
        np.testing.assert_allclose(part.decode(body, at), best, atol=1e-5)


@each_codec
def test_eight_bits_take_less_than_half_of_32_at_equal_error(codec):
    x = update()
    exact = CODECS[codec](error=0.3, precision="float32")
    small = CODECS[codec](error=0.3, precision="int8")
    assert len(small.encode(x, AT)) < 0.45 * len(exact.encode(x, AT))


@each_codec
def test_a_tensor_that_matters_little_is_left_out(codec):
    x = update()
    for entry in LAYOUT:
        if entry.name == "conv.weight":
            x[entry.start : entry.stop] *= 1e-3
    part = CODECS[codec](error=0.2)
    y = LAYOUT.unpack(part.decode(part.encode(x, AT), AT))
    assert not y["conv.weight"].any()
    assert all(tensor.any() for name, tensor in y.items() if name != "conv.weight")


@each_codec
def test_vectors_travel_as_they_are(codec):
    x = update()
    part = CODECS[codec](bits=1.0, precision="float32")
    y = LAYOUT.unpack(part.decode(part.encode(x, AT), AT))
    for entry in LAYOUT:
        if len(entry.shape) < 2:
            np.testing.assert_array_equal(y[entry.name].ravel(), x[entry.start : entry.stop])


@pytest.mark.parametrize("order", ["plain", "paired"])
@pytest.mark.parametrize("factors", [2, 3])
def test_foldings_keep_the_error_too(order, factors):
    part, x = qf.layers.TensorTrainCodec(error=0.3, order=order, factors=factors), update()
    assert off(x, part.decode(part.encode(x, AT), AT)) <= 0.3


def test_one_plain_factor_is_the_twin():
    x = update()
    train, svd = qf.layers.TensorTrainCodec(bits=5.0, factors=1), qf.layers.TruncatedSvd(bits=5.0)
    assert train.encode(x, AT) == svd.encode(x, AT)


@each_codec
@each_precision
def test_random_bodies_give_our_error_or_a_finite_vector(codec, precision):
    part, rng = CODECS[codec](bits=6.0, precision=precision), np.random.default_rng(3)
    body = bytearray(part.encode(update(), AT))
    accepted = 0
    for _ in range(300):
        altered = bytearray(body)
        for _ in range(int(rng.integers(1, 4))):
            altered[int(rng.integers(len(altered)))] = int(rng.integers(256))
        try:
            y = part.decode(bytes(altered), AT)
        except PayloadError:
            continue
        accepted += 1
        assert y.shape == (LAYOUT.size,)
        assert np.isfinite(y).all()
    assert accepted > 50


def test_ranks_that_no_train_has_are_refused():
    layout = Layout.of({"w": (6, 6)})
    at = At(0, 1, 2, Key.of(0), layout, 10)
    part = qf.layers.TruncatedSvd(precision="float32")
    head = np.array(0, "<i2").tobytes()
    for rank in (3, 6, 7, 254):
        with pytest.raises(PayloadError, match=f"ranks \\[{rank}\\] of tensor 'w'"):
            part.decode(head + bytes([rank]) + bytes(4 * 12 * rank), at)
    with pytest.raises(PayloadError, match="ends"):
        part.decode(head + b"\2" + bytes(4 * 24 - 1), at)
    with pytest.raises(PayloadError, match="exponent of 129"):
        part.decode(np.array(129, "<i2").tobytes() + b"\0", at)
    assert not part.decode(head + b"\0", at).any()


def test_numbers_beyond_float32_are_bounded_and_what_is_no_number_is_refused():
    layout = Layout.of({"w": (6, 6)})
    at = At(0, 1, 2, Key.of(0), layout, 10)
    part = qf.layers.TruncatedSvd(precision="float32")
    head = np.array(100, "<i2").tobytes() + b"\1"
    assert np.isfinite(part.decode(head + np.full(12, 3e38, "<f4").tobytes(), at)).all()
    with pytest.raises(PayloadError, match="not finite"):
        part.decode(head + np.full(12, np.nan, "<f4").tobytes(), at)


@each_codec
def test_knobs(codec):
    with pytest.raises(ConfigError, match="one of the two"):
        CODECS[codec](error=0.1, bits=3.0)
    with pytest.raises(ConfigError, match="at least"):
        CODECS[codec](error=1e-3)
    CODECS[codec](error=1e-3, precision="float32")
    for wrong in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(ConfigError, match="error"):
            CODECS[codec](error=wrong)


def test_one_factor_cannot_be_paired():
    with pytest.raises(ConfigError, match="at least 2"):
        qf.layers.TensorTrainCodec(order="paired", factors=1)


def test_the_register_names_the_twin():
    entry = find("codec", "tensor-train")
    assert not entry.quantum
    assert entry.twins == ("truncated-svd",)


@pytest.mark.parametrize("at_error", [True, False])
def test_no_further_than_zero_is(at_error):
    """Also of noise, which no rank describes, and with error feedback around it."""
    rng = np.random.default_rng(5)
    for codec in CODECS.values():
        part = codec(error=0.9) if at_error else codec(bits=1.0)
        for seed in range(10):
            x = rng.normal(size=LAYOUT.size).astype(np.float32) if seed % 2 else update(seed)
            assert off(x, part.decode(part.encode(x, AT), AT)) <= (0.9 if at_error else 1.0)


def test_error_feedback_sends_what_was_left_out():
    part = qf.layers.ErrorFeedback(qf.layers.TruncatedSvd(bits=3.0))
    x, memory, total = update(), part.memory(LAYOUT), np.zeros(LAYOUT.size)
    first = None
    for number in range(1, 31):
        body, memory = part.send(x, memory, AT)
        total += part.receive(body, {}, AT)[0]
        first = off(x, total.astype(np.float32) / np.float32(number)) if number == 1 else first
    assert off(x, (total / 30).astype(np.float32)) < 0.2 * first
