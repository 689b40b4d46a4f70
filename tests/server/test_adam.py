import numpy as np
import pytest
import torch

import qfedfm as qf
from qfedfm.core.errors import ConfigError
from qfedfm.core.layout import Layout
from tests.server.optimisers import algorithm_2, draw, run


@pytest.mark.parametrize(("lr", "beta1", "beta2", "tau"), [(0.01, 0.9, 0.99, 1e-3), (1.0, 0.0, 0.5, 1e-6)])
def test_agrees_with_algorithm_2(lr: float, beta1: float, beta2: float, tau: float) -> None:
    model, *deltas = draw(12)
    expected = algorithm_2("adam", model, deltas, lr, beta1, beta2, tau)
    ours = run(qf.server.Adam(lr=lr, beta1=beta1, beta2=beta2, tau=tau), model, deltas)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_starts_from_no_momentum_and_the_square_of_tau() -> None:
    state = qf.server.Adam(tau=0.25).init(Layout.of({"x": (2,)}))
    assert state["momentum"].tolist() == [0, 0]
    assert state["second_moment"].tolist() == [0.0625, 0.0625]


def test_a_huge_delta_moves_no_coordinate_beyond_a_bounded_step() -> None:
    model, huge = np.zeros(2, np.float32), np.array([1e38, -1e38], np.float32)
    ours = run(qf.server.Adam(lr=0.01), model, [huge, -huge, huge])
    assert np.isfinite(ours).all()
    assert np.abs(ours).max() < 1.0


def test_without_momentum_and_with_large_tau_it_is_a_scaled_average() -> None:
    model, *deltas = draw(6)
    tau = 1e6
    expected = model.astype(np.float64) + sum(delta.astype(np.float64) for delta in deltas)
    ours = run(qf.server.Adam(lr=2 * tau, beta1=0.0, beta2=0.9999, tau=tau), model, deltas)
    # √v + τ is 2τ as v₀ = τ² hardly decays in a few rounds.
    np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=1e-5)


def test_agrees_with_torch_where_bias_correction_is_nothing() -> None:
    model, *deltas = draw(6)
    x = torch.nn.Parameter(torch.tensor(model, dtype=torch.float64))
    theirs = torch.optim.Adam([x], lr=0.1, betas=(0.0, 0.5), eps=1e-12)
    ours = qf.server.Adam(lr=0.1, beta1=0.0, beta2=0.5, tau=1e-12)
    state = ours.init(Layout.of({"x": model.shape}))
    for step, delta in enumerate(deltas, start=1):
        x.grad = -torch.tensor(delta, dtype=torch.float64)
        before = x.detach().clone()
        theirs.step()
        _, state = ours.step(model, delta, state)
        corrected = 0.1 * delta / np.sqrt(state["second_moment"] / (1 - 0.5**step))
        np.testing.assert_allclose(corrected, (x.detach() - before).numpy(), rtol=1e-5)


@pytest.mark.parametrize("options", [{"lr": 0.0}, {"tau": 0.0}, {"beta1": 1.0}, {"beta2": 1.0}, {"beta2": -0.1}])
def test_refuses_values_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        qf.server.Adam(**options)
