"""What the tests of server optimisers share."""

from collections.abc import Sequence

import numpy as np

from qfedfm.core.layout import Layout
from qfedfm.core.parts import ServerOptimizer


def run(optimiser: ServerOptimizer, model: np.ndarray, deltas: Sequence[np.ndarray]) -> np.ndarray:
    """The model after one step for each delta, from the optimiser's first state; no input may change."""
    layout = Layout.of({"x": model.shape})
    state = optimiser.init(layout)
    for delta in deltas:
        before = (model.copy(), delta.copy(), {name: value.copy() for name, value in state.items()})
        following, next_state = optimiser.step(model, delta, state)
        np.testing.assert_array_equal(model, before[0])
        np.testing.assert_array_equal(delta, before[1])
        for name, value in state.items():
            np.testing.assert_array_equal(value, before[2][name])
        assert following.dtype == np.float32
        assert {name: value.shape for name, value in next_state.items()} == dict.fromkeys(state, model.shape)
        model, state = following, next_state
    return model


def draw(rounds: int, d: int = 50, seed: int = 0, scale: float = 1e-2) -> list[np.ndarray]:
    """Deltas of the size of real ones."""
    rng = np.random.default_rng(seed)
    return [(scale * rng.standard_normal(d)).astype(np.float32) for _ in range(rounds)]


def algorithm_2(
    method: str, x: np.ndarray, deltas: Sequence[np.ndarray], eta: float, beta1: float, beta2: float, tau: float
) -> np.ndarray:
    """Algorithm 2 of Reddi et al. (2021), coordinate by coordinate in plain Python."""
    result = []
    for j, x_j in enumerate(x):
        value, m, v = float(x_j), 0.0, tau**2
        for delta in deltas:
            g = float(delta[j])
            m = beta1 * m + (1 - beta1) * g
            if method == "adagrad":
                v = v + g**2
            elif method == "yogi":
                v = v - (1 - beta2) * g**2 * ((v > g**2) - (v < g**2))
            else:
                v = beta2 * v + (1 - beta2) * g**2
            value += eta * m / (v**0.5 + tau)
        result.append(value)
    return np.array(result)
