import numpy as np
import pytest
import torch

import qfedfm as qf
from qfedfm.core.errors import ConfigError, PayloadError
from tests.layers.sides import client_at


def normal(d: int, scale: float) -> np.ndarray:
    return (scale * np.random.default_rng(0).standard_normal(d)).astype(np.float32)


def length(x: np.ndarray) -> float:
    return float(np.sqrt(np.sum(x.astype(np.longdouble) ** 2)))


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 1e4])
def test_agrees_with_torch(scale: float) -> None:
    x = normal(1000, scale)
    parameter = torch.nn.Parameter(torch.zeros(1000))
    parameter.grad = torch.from_numpy(x.copy())
    torch.nn.utils.clip_grad_norm_([parameter], 2.0)
    ours = qf.layers.Clip(2.0).encode(x, client_at(1000))
    np.testing.assert_allclose(ours, parameter.grad.numpy(), rtol=2e-6)


def test_a_short_update_passes_as_it_is() -> None:
    x = normal(100, 1e-3)
    np.testing.assert_array_equal(qf.layers.Clip(1.0).encode(x, client_at(100)), x)


@pytest.mark.parametrize("d", [1, 3, 1000, 100_000])
@pytest.mark.parametrize("scale", [10.0, 1e20, 1e37])
def test_the_norm_is_never_above_and_hardly_below(d: int, scale: float) -> None:
    x = normal(d, scale)
    for clipping_norm in (1e-3, 0.7):
        clipped = qf.layers.Clip(clipping_norm).encode(x, client_at(d))
        assert length(clipped) <= clipping_norm
        assert length(clipped) >= clipping_norm * (1 - 1e-6)


def test_the_direction_stays() -> None:
    x = normal(50, 3.0)
    clipped = qf.layers.Clip(1.0).encode(x, client_at(50)).astype(np.float64)
    assert clipped @ x / np.linalg.norm(clipped) / np.linalg.norm(x.astype(np.float64)) == pytest.approx(1, abs=1e-12)


def test_the_server_clips_what_a_hostile_client_did_not() -> None:
    x = normal(1000, 50.0)
    assert length(qf.layers.Clip(1.0).decode(x, client_at(1000))) <= 1.0


def test_the_server_leaves_a_clipped_update_alone() -> None:
    layer, at = qf.layers.Clip(0.3), client_at(1000)
    sent = layer.encode(normal(1000, 50.0), at)
    np.testing.assert_array_equal(layer.decode(sent, at), sent)


@pytest.mark.parametrize("side", ["encode", "decode"])
@pytest.mark.parametrize("wrong", [np.full(4, np.nan, np.float32), np.zeros(5, np.float32)])
def test_refuses_what_is_not_finite_or_has_another_length(side: str, wrong: np.ndarray) -> None:
    with pytest.raises(PayloadError):
        getattr(qf.layers.Clip(), side)(wrong, client_at(4))


@pytest.mark.parametrize("clipping_norm", [0.0, -1.0, float("inf"), float("nan")])
def test_refuses_a_norm_that_is_not_positive(clipping_norm: float) -> None:
    with pytest.raises(ConfigError, match="clipping_norm"):
        qf.layers.Clip(clipping_norm)
