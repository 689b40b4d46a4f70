"""Top-k against a full sort, its bound where it is tight, and its values through other codecs."""

from dataclasses import dataclass, replace
from math import comb, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qfedfm as qf
from qfedfm.core.distortion import Contractive, Unbiased
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.parts import At, Codec
from tests.layers.sides import client_at

LAYOUT = qf.Layout.of({"a": (4, 5), "b": (20,), "c": (7,), "d": ()})


def there_and_back(codec: Codec, x: np.ndarray, at: At) -> np.ndarray:
    return codec.decode(codec.encode(x, at), at)


def sorted_out(x: np.ndarray, k: int) -> np.ndarray:
    """The k largest by a stable sort, which puts the first among equal ones in front."""
    found = np.zeros_like(x)
    order = np.argsort(-np.abs(x), kind="stable")[:k]
    found[order] = x[order]
    return found


@given(st.integers(1, 300), st.floats(0.001, 1), st.integers(0, 99), st.sampled_from([1, 3, 1000]))
def test_the_largest_are_sent_and_the_first_of_equal_ones(d, fraction, seed, levels):
    x = np.random.default_rng(seed).integers(-levels, levels + 1, d).astype(np.float32)
    codec = qf.layers.TopK(fraction)
    found = there_and_back(codec, x, client_at(d))
    np.testing.assert_array_equal(found, sorted_out(x, max(1, round(fraction * d))))


@given(st.floats(0.001, 1), st.integers(0, 99), st.sampled_from([1, 1000]))
def test_one_k_for_each_tensor(fraction, seed, levels):
    x = np.random.default_rng(seed).integers(-levels, levels + 1, LAYOUT.size).astype(np.float32)
    at = replace(client_at(1), layout=LAYOUT)
    found = LAYOUT.unpack(there_and_back(qf.layers.TopK(fraction, "tensor"), x, at))
    for name, tensor in LAYOUT.unpack(x).items():
        flat = tensor.reshape(-1)
        expected = sorted_out(flat, max(1, round(fraction * flat.size)))
        np.testing.assert_array_equal(found[name].reshape(-1), expected)


@pytest.mark.parametrize("k", [1, 3, 7, 10])
def test_the_bound_is_met_where_all_magnitudes_are_equal(k):
    x = np.where(np.arange(10) % 3, 2, -2).astype(np.float32)
    codec = qf.layers.TopK(k / 10)
    found = there_and_back(codec, x, client_at(10))
    assert codec.distortion(client_at(10).layout) == Contractive(k / 10)
    assert ((found - x) ** 2).sum() == pytest.approx((1 - k / 10) * (x**2).sum(), abs=1e-12)


def test_the_bound_of_tensors_is_that_of_the_least_kept():
    """One of 4, one of 3 and one of 20: all in the tensor of 20 gives 1/20 and no less."""
    layout = qf.Layout.of({"a": (4,), "b": (3,), "c": (20,)})
    codec = qf.layers.TopK(0.05, "tensor")
    assert codec.distortion(layout) == Contractive(1 / 20)
    x = np.r_[np.zeros(7), np.ones(20)].astype(np.float32)
    found = there_and_back(codec, x, replace(client_at(1), layout=layout))
    assert ((found - x) ** 2).sum() == 19


@pytest.mark.parametrize(("values", "bits"), [("float32", 32), ("bfloat16", 16)])
def test_the_body_is_as_long_as_indices_and_values_ask_for(values, bits):
    d, k = 50_000, 500
    x = np.random.default_rng(0).normal(size=d).astype(np.float32)
    codec = qf.layers.TopK(k / d, values=qf.core.registry.build("codec", values))
    least = (log2(comb(d, k)) + bits * k) / 8
    body = codec.encode(x, client_at(d))
    assert least <= len(body) <= 1.01 * least + 8
    assert len(body) <= codec.largest(client_at(d).layout) <= 1.05 * least


def test_values_through_bfloat16_are_those_of_bfloat16():
    x = np.random.default_rng(0).normal(size=100).astype(np.float32)
    at, bfloat16 = client_at(100), qf.layers.Bfloat16()
    found = there_and_back(qf.layers.TopK(0.2, values=bfloat16), x, at)
    np.testing.assert_array_equal(found, there_and_back(bfloat16, sorted_out(x, 20), at))
    assert qf.layers.TopK(0.2, values=bfloat16).distortion(at.layout) == Contractive(0.2 * (1 - 2.0**-16))


@dataclass(frozen=True)
class Signs(Codec):
    """Signs, with one mean magnitude a tensor; or, unbiased with ω = 1, a random half of them, doubled."""

    loud: bool = False

    name = "signs"

    def encode(self, x, at):
        return x.tobytes()

    def decode(self, body, at):
        x = np.frombuffer(body, np.float32)
        if self.loud:
            return np.where(at.key.numpy().random(x.size) < 0.5, 2 * x, 0).astype(np.float32)
        means = [np.full(part.size, np.abs(part).mean()) for part in at.layout.unpack(x).values()]
        return (np.sign(x) * np.concatenate(means)).astype(np.float32)

    def largest(self, layout):
        return 4 * layout.size

    def distortion(self, layout):
        return Unbiased(1.0) if self.loud else Contractive(1 / layout.size)


def test_values_through_signs_have_a_magnitude_for_each_tensor_that_is_told_apart():
    x = np.array([1, -3, 0.1, 0, 10, 20, -30, 0.1], np.float32)
    whole = there_and_back(qf.layers.TopK(0.5, values=Signs()), x, client_at(8))
    assert whole.tolist() == [0, -15.75, 0, 0, 15.75, 15.75, -15.75, 0]
    at = replace(client_at(1), layout=qf.Layout.of({"a": (4,), "b": (2, 2)}))
    each = there_and_back(qf.layers.TopK(0.5, "tensor", Signs()), x, at)
    assert each.tolist() == [2, -2, 0, 0, 0, 25, -25, 0]


def test_unbiased_values_are_scaled_to_a_contraction():
    x = np.random.default_rng(0).normal(size=40).astype(np.float32)
    codec = qf.layers.TopK(0.5, values=Signs(loud=True))
    assert codec.distortion(client_at(40).layout) == Contractive(0.25)
    found = there_and_back(codec, x, client_at(40))
    kept = sorted_out(x, 20)
    assert set((found[kept != 0] / kept[kept != 0]).tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("outer", [qf.layers.ErrorFeedback, qf.layers.EF21])
def test_values_through_a_codec_that_remembers_are_refused(outer):
    with pytest.raises(ConfigError, match="around 'top-k' instead"):
        qf.layers.TopK(values=outer(qf.layers.Bfloat16()))


@pytest.mark.parametrize("values", ["float32", "bfloat16"])
def test_with_error_feedback_nothing_is_lost(values):
    """All that was decoded and what is remembered add up to the updates, of which one in ten coordinates is sent."""
    updates = np.random.default_rng(1).normal(size=(30, 50)).astype(np.float32)
    codec = qf.layers.ErrorFeedback(qf.layers.TopK(0.1, values=qf.core.registry.build("codec", values)))
    memory, decoded = codec.memory(client_at(50).layout), np.zeros(50)
    for number, x in enumerate(updates):
        at = replace(client_at(50), round=number)
        body, memory = codec.send(x, memory, at)
        decoded += codec.receive(body, {}, at)[0]
    np.testing.assert_allclose(decoded + memory["error"], updates.sum(0), atol=1e-4)


@pytest.mark.parametrize("fraction", [0.0, 1.5, float("nan")])
def test_a_fraction_outside_of_its_range_is_refused(fraction):
    with pytest.raises(ConfigError, match="fraction"):
        qf.layers.TopK(fraction)


def test_values_that_are_not_finite_or_of_another_number_are_refused():
    codec, at = qf.layers.TopK(0.25), client_at(8)
    body = codec.encode(np.arange(8, dtype=np.float32), at)
    for altered in (body[:-4], body + b"\0" * 4, body[:-4] + b"\0\0\x80\x7f"):
        with pytest.raises(PayloadError):
            codec.decode(altered, at)


def test_all_of_one_is_exact():
    x = np.array([-2.5], np.float32)
    assert there_and_back(qf.layers.TopK(1e-9), x, client_at(1)).tolist() == [-2.5]
