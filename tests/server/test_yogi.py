import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import ConfigError
from qfedfm.core.layout import Layout
from tests.server.optimisers import algorithm_2, draw, run


@pytest.mark.parametrize(("lr", "beta1", "beta2", "tau"), [(0.01, 0.9, 0.99, 1e-3), (1.0, 0.0, 0.5, 1e-6)])
def test_agrees_with_algorithm_2(lr: float, beta1: float, beta2: float, tau: float) -> None:
    model, *deltas = draw(12)
    expected = algorithm_2("yogi", model, deltas, lr, beta1, beta2, tau)
    ours = run(qf.server.Yogi(lr=lr, beta1=beta1, beta2=beta2, tau=tau), model, deltas)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_starts_from_no_momentum_and_the_square_of_tau() -> None:
    state = qf.server.Yogi(tau=0.25).init(Layout.of({"x": (2,)}))
    assert state["momentum"].tolist() == [0, 0]
    assert state["second_moment"].tolist() == [0.0625, 0.0625]


def test_a_huge_delta_moves_no_coordinate_beyond_a_bounded_step() -> None:
    model, huge = np.zeros(2, np.float32), np.array([1e38, -1e38], np.float32)
    ours = run(qf.server.Yogi(lr=0.01), model, [huge, -huge, huge])
    assert np.isfinite(ours).all()
    assert np.abs(ours).max() < 1.0


def test_after_a_large_delta_it_forgets_by_the_size_of_the_new_ones() -> None:
    model = np.zeros(1, np.float32)
    yogi, adam = qf.server.Yogi(tau=1e-6), qf.server.Adam(tau=1e-6)
    states = [part.init(Layout.of({"x": (1,)})) for part in (yogi, adam)]
    for value in (10.0, 0.01):
        delta = np.array([value], np.float32)
        states = [part.step(model, delta, state)[1] for part, state in zip((yogi, adam), states, strict=True)]
    after_large = 0.01 * 10.0**2
    np.testing.assert_allclose(states[0]["second_moment"], after_large - 0.01 * 0.01**2, rtol=1e-6)
    np.testing.assert_allclose(states[1]["second_moment"], 0.99 * after_large + 0.01 * 0.01**2, rtol=1e-6)


@pytest.mark.parametrize("options", [{"lr": 0.0}, {"tau": 0.0}, {"beta1": 1.0}, {"beta2": 1.0}, {"beta2": -0.1}])
def test_refuses_values_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        qf.server.Yogi(**options)
