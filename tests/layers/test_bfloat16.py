import numpy as np
import pytest
import torch

import qfedfm as qf
from qfedfm.core.errors import PayloadError
from tests.layers.sides import client_at


def round_trip(x: np.ndarray) -> np.ndarray:
    codec, at = qf.layers.Bfloat16(), client_at(len(x))
    return codec.decode(codec.encode(x, at), at)


def all_magnitudes(stop: int) -> np.ndarray:
    """float32 numbers of both signs whose bits are spread over everything below ``stop``, ties included."""
    rng = np.random.default_rng(0)
    upper = np.arange(0, stop >> 16, dtype=np.uint32) << 16
    lower = rng.integers(0, 1 << 16, len(upper), dtype=np.uint32)
    bits = np.concatenate([upper, upper | 0x8000, upper | 0x7FFF, upper | 0x8001, upper | lower])
    return np.concatenate([bits, bits | np.uint32(1 << 31)]).view(np.float32)


def test_rounds_as_torch_does_wherever_torch_stays_finite() -> None:
    x = all_magnitudes(0x7F7F0000)
    theirs = torch.from_numpy(x).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(round_trip(x).view(np.uint32), theirs.view(np.uint32))


def test_numbers_that_would_round_to_infinity_become_the_largest() -> None:
    largest = torch.finfo(torch.bfloat16).max
    x = np.array([np.finfo(np.float32).max, 3.3961776e38, -3.4e38], np.float32)
    assert np.isinf(torch.from_numpy(x).to(torch.bfloat16).float().numpy()).all()
    np.testing.assert_array_equal(round_trip(x), [largest, largest, -largest])


def test_the_error_is_within_the_stated_bound() -> None:
    x = all_magnitudes(0x7F800000)
    wide = x.astype(np.float64)
    error = np.abs(round_trip(x).astype(np.float64) - wide)
    normal = np.abs(wide) >= 2.0**-126
    assert (error[normal] <= 2.0**-8 * np.abs(wide[normal])).all()
    assert (error[~normal] <= 2.0**-134).all()
    assert (error[normal] > 2.0**-8 * np.abs(wide[normal]) * 0.98).any()


def test_two_little_endian_bytes_a_coordinate() -> None:
    body = qf.layers.Bfloat16().encode(np.array([1.0, -2.0], np.float32), client_at(2))
    assert body == bytes([0x80, 0x3F, 0x00, 0xC0])
    assert qf.layers.Bfloat16().largest(client_at(2).layout) == len(body)


def test_does_not_change_its_input() -> None:
    x = np.linspace(-3, 3, 101, dtype=np.float32)
    before = x.copy()
    round_trip(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_to_send_what_is_not_finite(value: float) -> None:
    with pytest.raises(PayloadError, match="coordinate 1"):
        qf.layers.Bfloat16().encode(np.array([0.0, value], np.float32), client_at(2))


def test_refuses_bodies_of_another_length_and_bodies_that_are_not_finite() -> None:
    for body in (b"", b"\0" * 3, b"\0" * 6):
        with pytest.raises(PayloadError, match="4"):
            qf.layers.Bfloat16().decode(body, client_at(2))
    for infinite in (0x7F80, 0xFF80, 0x7FC1):
        with pytest.raises(PayloadError, match="finite"):
            qf.layers.Bfloat16().decode(np.array([0, infinite], "<u2").tobytes(), client_at(2))
