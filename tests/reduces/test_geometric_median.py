import numpy as np
import pytest
from scipy import optimize

import qfedfm as qf
from qfedfm.core.errors import ConfigError
from qfedfm.reduces._weiszfeld import _newton
from tests.peers import byzfl
from tests.reduces.cohorts import HUGE, cohort_of, normal, reduced


def minimiser(X: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The geometric median by a general-purpose optimiser, for rows in general position."""
    wide = X.astype(np.float64)

    def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
        away = z - wide
        r = np.linalg.norm(away, axis=1)
        return float(weights @ r), (weights / r) @ away

    start = np.average(wide, axis=0, weights=weights)
    return optimize.minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-10}).x


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
def test_agrees_with_a_general_optimiser_at_every_scale(scale: float, seed: int) -> None:
    base = normal(9, 4, seed=seed)
    weights = np.arange(1.0, 10.0)
    expected = minimiser(base, weights / weights.sum())
    vector = reduced(qf.reduces.GeometricMedian(), cohort_of(base * np.float32(scale), weights)).vector
    np.testing.assert_allclose(vector / np.float32(scale), expected, atol=2e-5)


def test_agrees_with_byzfl_run_to_convergence() -> None:
    X = normal(20, 500)
    theirs = byzfl("aggregators.aggregators").GeometricMedian(nu=1e-9, T=300)(X.astype(np.float64))
    np.testing.assert_allclose(reduced(qf.reduces.GeometricMedian(), cohort_of(X)).vector, theirs, atol=1e-5)


@pytest.mark.parametrize("direction", [1.0, 1e-3])
def test_of_points_on_a_line_it_is_their_median(direction: float) -> None:
    along = np.array([-7.0, 0.5, 0.6, 3.0, 100.0])
    X = np.outer(along, direction * np.array([1.0, -2.0, 2.0]))
    vector = reduced(qf.reduces.GeometricMedian(), cohort_of(X)).vector
    np.testing.assert_allclose(vector, X[2], rtol=1e-4)


def test_of_a_triangle_it_is_the_point_that_sees_all_sides_under_120_degrees() -> None:
    X = np.array([[0.0, 0.0], [4.0, 0.0], [1.0, 3.0]])
    z = reduced(qf.reduces.GeometricMedian(), cohort_of(X)).vector.astype(np.float64)
    towards = (X - z) / np.linalg.norm(X - z, axis=1, keepdims=True)
    np.testing.assert_allclose((towards @ towards.T)[np.triu_indices(3, 1)], -0.5, atol=1e-4)


def test_of_a_triangle_with_a_wide_corner_it_is_that_corner() -> None:
    X = np.array([[0.0, 0.1], [-1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(reduced(qf.reduces.GeometricMedian(), cohort_of(X)).vector, X[0], atol=1e-5)


def test_is_the_point_that_holds_half_of_the_weight() -> None:
    X = normal(4, 6)
    result = reduced(qf.reduces.GeometricMedian(), cohort_of(X, weights=[1, 3, 1, 1]))
    np.testing.assert_array_equal(result.vector, X[1])
    np.testing.assert_array_equal(result.row_weights, [0, 1, 0, 0])


def test_one_update_comes_out_as_it_went_in() -> None:
    X = normal(1, 30)
    np.testing.assert_array_equal(reduced(qf.reduces.GeometricMedian(), cohort_of(X)).vector, X[0])


def test_does_not_collapse_to_the_mean_on_small_updates() -> None:
    X = normal(10, 1000, scale=1e-3)
    X[:3] *= -50
    mean, honest = X.mean(axis=0), X[3:].mean(axis=0)
    vector = reduced(qf.reduces.GeometricMedian(), cohort_of(X)).vector
    assert np.linalg.norm(vector - honest) < 0.05 * np.linalg.norm(mean - honest)


def test_a_huge_client_pulls_with_no_more_than_a_unit_vector() -> None:
    honest = normal(8, 40, scale=1e-3)
    shares = np.full(9, 1 / 9)
    for far in (HUGE, 1e3):
        X = np.concatenate([honest, np.full((1, 40), far, np.float32)])
        result = reduced(qf.reduces.GeometricMedian(), cohort_of(X))
        z = result.vector.astype(np.float64)
        away = z - X.astype(np.float64)
        pull = shares / np.linalg.norm(away, axis=1)
        assert np.linalg.norm(pull @ away) < 1e-5
        assert np.linalg.norm(z) < 1e-2
        assert result.diagnostics["weiszfeld_residual"] <= 1e-6


@pytest.mark.parametrize("n", [4, 9, 10, 16])
def test_converges_with_as_many_huge_updates_as_it_can_stand(n: int) -> None:
    X = normal(n, 40, scale=1e-3)
    hostile = (n - 1) // 2
    X[:hostile] = HUGE * np.sign(normal(hostile, 40, seed=1))
    result = reduced(qf.reduces.GeometricMedian(), cohort_of(X))
    assert result.diagnostics["weiszfeld_residual"] <= 1e-6
    assert np.abs(result.vector).max() < 1.0


@pytest.mark.parametrize("seed", range(60))
def test_converges_on_degenerate_updates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 30)), int(rng.integers(1, 5))
    X = rng.standard_normal((n, d))
    X = [
        np.outer(X[:, 0], rng.standard_normal(d)),
        rng.integers(-2, 3, (n, d)),
        X * 10.0 ** rng.integers(-30, 30, (n, 1)),
        np.vstack([X[:1], X[:1] + 1e-4 * X[1:]]),
        X * rng.standard_cauchy((n, 1)) ** 3,
    ][seed % 5]
    result = reduced(qf.reduces.GeometricMedian(), cohort_of(X, rng.integers(1, 100, n)))
    assert result.diagnostics.get("weiszfeld_residual", 0.0) <= 1e-6
    assert (result.row_weights >= 0).all()


def test_stops_with_the_residual_that_it_has_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qfedfm.reduces._weiszfeld._MOST_ITERATIONS", 2)
    X = normal(9, 4)
    result = reduced(qf.reduces.GeometricMedian(), cohort_of(X))
    assert result.diagnostics["weiszfeld_iterations"] == 2
    assert 1e-6 < result.diagnostics["weiszfeld_residual"] < 0.5
    np.testing.assert_allclose(result.vector, minimiser(X, np.full(9, 1 / 9)), atol=0.2)


def test_between_two_points_there_is_no_newton_step() -> None:
    half = np.full(2, 0.5)
    steps = _newton(np.array([[1.0, -1.0], [-1.0, 1.0]]), shares=half, weights=half, pulls=half)
    assert list(steps) == []


def test_a_newton_step_solves_the_equations_of_the_smoothed_objective() -> None:
    X, w, mu = normal(6, 3).astype(np.float64), np.array([0.3, 0.3, 0.1, 0.1, 0.1, 0.1]), 1e-3
    shares = np.full(6, 1 / 6)
    away = w @ X - X
    r = np.sqrt(np.sum(away**2, axis=1) + mu**2)
    hessian = np.sum([a / s * (np.eye(3) - np.outer(v, v) / s**2) for a, s, v in zip(shares, r, away, strict=True)], 0)
    expected = -np.linalg.solve(hessian, (shares / r) @ away)
    length, trial = next(_newton(X @ X.T, shares=shares, weights=w, pulls=shares / r))
    assert length == 1
    np.testing.assert_allclose((trial - w) @ X, expected, rtol=1e-9)


def test_reports_the_weights_that_make_the_vector() -> None:
    X = normal(12, 200)
    X[0] *= 100
    result = reduced(qf.reduces.GeometricMedian(), cohort_of(X))
    np.testing.assert_allclose(result.row_weights @ X.astype(np.float64), result.vector, atol=1e-6)
    assert result.row_weights.sum() == pytest.approx(1)
    assert result.row_weights[0] < 0.05 / 12


def test_refuses_fields_out_of_range() -> None:
    for options in ({"smoothing": 0.0}, {"tolerance": -1e-6}, {"tolerance": 2.0}, {"smoothing": float("nan")}):
        with pytest.raises(ConfigError):
            qf.reduces.GeometricMedian(**options)
