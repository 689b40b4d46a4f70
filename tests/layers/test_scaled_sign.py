"""The scaled sign against the lemma of the paper."""

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import PayloadError
from qfedfm.core.parts import At
from qfedfm.layers.scaled_sign import ScaledSign
from tests.layers.sides import client_at, nmse

RNG = np.random.default_rng(11)
LAYOUT = qf.Layout.of({"a": (3,), "b": (2, 2), "c": ()})
AT = At(0, 1, 0, qf.Key.of(0), LAYOUT, 1)


def test_signs_times_the_mean_magnitude_of_each_tensor():
    x = np.array([1, -2, 6, -1, 0, -1, -2, -0.5], np.float32)
    body = ScaledSign().encode(x, AT)
    np.testing.assert_array_equal(ScaledSign().decode(body, AT), [3, -3, 3, -1, 1, -1, -1, -0.5])
    assert body == np.array([3, 1, 0.5], "<f4").tobytes() + bytes([0b01010111])


def test_the_error_is_one_minus_the_density():
    for _ in range(50):
        n = int(RNG.integers(1, 300))
        x = (RNG.normal(size=n) ** RNG.choice([1, 3, 9]) * (RNG.random(n) < 0.7)).astype(np.float32)
        x[0] = 1
        wide = x.astype(np.float64)
        density = np.abs(wide).sum() ** 2 / (n * (wide @ wide))
        assert nmse(ScaledSign(), x) == pytest.approx(1 - density, abs=1e-6)
        assert density >= ScaledSign().distortion(client_at(n).layout).delta - 1e-12
    gauss = RNG.normal(size=2**18).astype(np.float32)
    assert nmse(ScaledSign(), gauss) == pytest.approx(1 - 2 / np.pi, rel=0.01)


def test_one_coordinate_alone_is_the_worst_there_is():
    x = np.zeros(40, np.float32)
    x[7] = -3
    assert nmse(ScaledSign(), x) == pytest.approx(1 - 1 / 40)
    assert ScaledSign().distortion(LAYOUT).delta == 1 / 4


def test_a_tensor_of_zeros_stays_one_and_the_ends_of_float32_are_kept():
    largest, least = np.finfo(np.float32).max, np.float32(1e-45)
    x = np.array([0, 0, 0, largest, -largest, largest, largest, -least], np.float32)
    np.testing.assert_array_equal(ScaledSign().decode(ScaledSign().encode(x, AT), AT), x)


def test_error_feedback_sends_in_time_what_the_signs_leave_out():
    codec = qf.layers.ErrorFeedback(ScaledSign())
    layout = client_at(50).layout
    x, memory, total = RNG.normal(size=50).astype(np.float32), codec.memory(layout), np.zeros(50)
    for _ in range(400):
        body, memory = codec.send(x, memory, client_at(50))
        total += codec.receive(body, {}, client_at(50))[0]
    once = ScaledSign().decode(ScaledSign().encode(x, client_at(50)), client_at(50))
    assert np.linalg.norm(total / 400 - x) < 0.05 * np.linalg.norm(once - x)


def test_bodies_that_are_none_are_refused():
    for body in (b"", b"\0" * 12, b"\0" * 14, np.array([1, -1, 1], "<f4").tobytes() + b"\0"):
        with pytest.raises(PayloadError):
            ScaledSign().decode(body, AT)
