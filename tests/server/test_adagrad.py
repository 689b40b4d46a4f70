import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import ConfigError
from qfedfm.core.layout import Layout
from tests.server.optimisers import algorithm_2, draw, run


@pytest.mark.parametrize(("lr", "beta1", "beta2", "tau"), [(0.01, 0.9, 0.99, 1e-3), (1.0, 0.0, 0.5, 1e-6)])
def test_agrees_with_algorithm_2(lr: float, beta1: float, beta2: float, tau: float) -> None:
    model, *deltas = draw(12)
    expected = algorithm_2("adagrad", model, deltas, lr, beta1, beta2, tau)
    ours = run(qf.server.Adagrad(lr=lr, beta1=beta1, tau=tau), model, deltas)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_starts_from_no_momentum_and_the_square_of_tau() -> None:
    state = qf.server.Adagrad(tau=0.25).init(Layout.of({"x": (2,)}))
    assert state["momentum"].tolist() == [0, 0]
    assert state["second_moment"].tolist() == [0.0625, 0.0625]


def test_a_huge_delta_moves_no_coordinate_beyond_a_bounded_step() -> None:
    model, huge = np.zeros(2, np.float32), np.array([1e38, -1e38], np.float32)
    ours = run(qf.server.Adagrad(lr=0.01), model, [huge, -huge, huge])
    assert np.isfinite(ours).all()
    assert np.abs(ours).max() < 1.0


def test_of_equal_deltas_the_steps_fall_as_one_over_the_root_of_the_round() -> None:
    model, delta = np.zeros(3, np.float32), np.array([1.0, -2.0, 0.5], np.float32)
    rounds = 40
    expected = 0.1 * np.sign(delta) * sum(1 / np.sqrt(t) for t in range(1, rounds + 1))
    np.testing.assert_allclose(run(qf.server.Adagrad(lr=0.1, tau=1e-9), model, [delta] * rounds), expected, rtol=1e-5)


def test_with_large_tau_it_is_a_scaled_average() -> None:
    model, *deltas = draw(6)
    tau = 1e6
    expected = model.astype(np.float64) + sum(delta.astype(np.float64) for delta in deltas)
    np.testing.assert_allclose(run(qf.server.Adagrad(lr=2 * tau, tau=tau), model, deltas), expected, atol=1e-6)


@pytest.mark.parametrize("options", [{"lr": 0.0}, {"tau": 0.0}, {"beta1": 1.0}])
def test_refuses_values_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        qf.server.Adagrad(**options)
