import numpy as np
import pytest
import torch

import qfedfm as qf
from qfedfm.core.errors import ConfigError
from qfedfm.core.layout import Layout
from tests.server.optimisers import draw, run


def test_without_momentum_it_adds_the_delta() -> None:
    model, delta = draw(2, scale=1.0)
    np.testing.assert_array_equal(run(qf.server.Sgd(), model, [delta]), model + delta)


def test_without_momentum_it_keeps_no_state() -> None:
    assert qf.server.Sgd().init(Layout.of({"x": (3,)})) == {}


def test_the_learning_rate_scales_the_step() -> None:
    model, delta = draw(2, scale=1.0)
    np.testing.assert_allclose(run(qf.server.Sgd(lr=0.25), model, [delta]), model + 0.25 * delta, rtol=1e-6)


@pytest.mark.parametrize(("lr", "momentum"), [(1.0, 0.9), (0.3, 0.5)])
def test_agrees_with_torch(lr: float, momentum: float) -> None:
    model, *deltas = draw(8, scale=1.0)
    x = torch.nn.Parameter(torch.tensor(model, dtype=torch.float64))
    theirs = torch.optim.SGD([x], lr=lr, momentum=momentum)
    for delta in deltas:
        x.grad = -torch.tensor(delta, dtype=torch.float64)
        theirs.step()
    np.testing.assert_allclose(
        run(qf.server.Sgd(lr, momentum), model, deltas), x.detach().numpy(), rtol=1e-5, atol=1e-5
    )


def test_beyond_float32_the_model_stays_finite() -> None:
    huge = np.array([3e38, -3e38], np.float32)
    np.testing.assert_array_equal(run(qf.server.Sgd(), huge, [huge]), np.finfo(np.float32).max * np.sign(huge))


@pytest.mark.parametrize("options", [{"lr": 0.0}, {"lr": float("inf")}, {"momentum": 1.0}, {"momentum": -0.1}])
def test_refuses_values_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        qf.server.Sgd(**options)
