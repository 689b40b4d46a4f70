"""The projection onto the simplex against a general solver."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from qfedfm.quantum.projection import onto_simplex


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_nearest_point_that_a_solver_finds(seed):
    q = np.random.default_rng(seed).normal(0.2, 0.4, 6)
    q += (1 - q.sum()) / 6
    found = minimize(
        lambda p: ((p - q) ** 2).sum(),
        np.full(6, 1 / 6),
        jac=lambda p: 2 * (p - q),
        bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    p, bias = onto_simplex(q[None])
    np.testing.assert_allclose(p[0], found.x, atol=1e-6)
    assert bias == pytest.approx(np.abs(p[0] - q).sum() / 2)


@given(st.lists(st.lists(st.floats(-2, 2), min_size=4, max_size=4), min_size=1, max_size=5))
def test_the_result_is_on_the_simplex_and_probabilities_stay(lines):
    p, _ = onto_simplex(np.array(lines))
    assert p.min() >= 0
    np.testing.assert_allclose(p.sum(axis=1), 1)
    again, bias = onto_simplex(p)
    np.testing.assert_allclose(again, p, atol=1e-12)
    assert bias < 1e-12
