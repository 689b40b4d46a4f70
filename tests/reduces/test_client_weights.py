import numpy as np
import pytest
from qiskit.quantum_info import Statevector

import qfedfm as qf
from qfedfm.core.errors import StackError
from qfedfm.core.key import Key
from qfedfm.reduces.client_weights import Problem, norms, plausible, problem_of, slopes, standardised
from qfedfm.reduces.variational import LearnedWeights
from tests.reduces.cohorts import cohort_of
from tests.reduces.learned import start

RNG = np.random.default_rng(0)
PRESENT = np.array([0, 2, 3, 7, 8, 9])
COUNTS = np.array([3.0, 1.0, 2.0, 5.0, 1.0, 4.0])
SLOPES = RNG.normal(size=6)
KEY = Key.of(0)


def objective(p: np.ndarray, trust: float) -> float:
    """Σ w s + trust · KL(w ‖ n / Σn), by its definition."""
    share = COUNTS / COUNTS.sum()
    w = share * p[PRESENT] / (share * p[PRESENT]).sum()
    return float(w @ SLOPES + trust * (w * np.log(w / share)).sum())


def gradient(model: LearnedWeights, theta: np.ndarray, trust: float) -> np.ndarray:
    problem = Problem(PRESENT, COUNTS / COUNTS.sum())
    point, pullback = model.evaluate(theta, 10, KEY)
    weights = problem.weights(point.probabilities)
    return pullback(problem.gradient(point.probabilities, problem.slope(weights, SLOPES, trust)))


MODELS = [
    qf.reduces.Born(layers=3),
    qf.reduces.Born(layers=2, entangler="ring-cz"),
    qf.reduces.BornNoEntangler(),
    qf.reduces.Amplitudes(),
    qf.reduces.Softmax(),
    qf.reduces.Simplex(),
]


@pytest.mark.parametrize("trust", [0.0, 0.7])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_gradient_is_that_of_renormalised_weights(model: LearnedWeights, trust: float) -> None:
    """Ten clients on sixteen outcomes, six of them present: differences of the definition."""
    theta, h = model.initial(10) + RNG.uniform(0, 0.05, model.initial(10).size), 1e-6

    def value(x: np.ndarray) -> float:
        return objective(model.probabilities(x, 10, KEY).probabilities, trust)

    differences = [(value(theta + h * unit) - value(theta - h * unit)) / (2 * h) for unit in np.eye(theta.size)]
    np.testing.assert_allclose(gradient(model, theta, trust), differences, atol=1e-8)


def test_shifting_renormalised_weights_would_be_wrong() -> None:
    model = qf.reduces.Born()
    theta = np.random.default_rng(3).normal(size=model.initial(10).size)
    qiskit = model.circuit(10)

    def value(x: np.ndarray) -> float:
        return objective(Statevector(qiskit.assign_parameters(x)).probabilities(), 0.0)

    shifted = [(value(theta + s) - value(theta - s)) / 2 for s in np.pi / 2 * np.eye(theta.size)]
    right = gradient(model, theta, 0.0)
    assert np.linalg.norm(shifted - right) > 0.1 * np.linalg.norm(right)


def test_weights_are_shared_by_the_clients_of_the_round() -> None:
    problem = Problem(np.array([1, 3]), np.array([0.25, 0.75]))
    np.testing.assert_allclose(problem.weights(np.array([0.5, 0.2, 0.2, 0.1])), [0.4, 0.6])


def test_without_probability_the_weights_are_the_sample_shares() -> None:
    problem = Problem(np.array([1, 3]), np.array([0.25, 0.75]))
    p = np.array([0.5, 0.0, 0.5, 0.0])
    np.testing.assert_array_equal(problem.weights(p), [0.25, 0.75])
    np.testing.assert_array_equal(problem.gradient(p, np.array([1.0, 2.0])), np.zeros(4))


def test_rows_are_taken_in_the_order_of_the_ids() -> None:
    model = qf.reduces.Softmax()
    cohort = cohort_of([[1.0], [2.0], [3.0]], weights=[1, 2, 3], clients=[30, 10, 20])
    problem, rows = problem_of("softmax", cohort, start(model, [40, 30, 20, 10]), np.array([True, True, False]))
    assert rows.tolist() == [1, 0]
    assert problem.ranks.tolist() == [0, 2]
    np.testing.assert_allclose(problem.prior, [2 / 3, 1 / 3])


@pytest.mark.parametrize("stranger", [15, 50])
def test_a_client_outside_the_population_is_refused(stranger: int) -> None:
    cohort = cohort_of([[1.0], [2.0]], clients=[10, stranger])
    with pytest.raises(StackError, match=rf"client {stranger} in reduce 'softmax'.*one of the 2 clients"):
        problem_of("softmax", cohort, start(qf.reduces.Softmax(), [10, 20]), np.ones(2, bool))


def test_slopes_and_norms_do_not_overflow() -> None:
    X = np.full((1, 4), 3e38, np.float32)
    assert slopes(np.full(4, 1e38, np.float32), X)[0] == pytest.approx(1.2e77, rel=1e-6)
    assert norms(X)[0] == pytest.approx(6e38, rel=1e-6)


def test_standardised_slopes_have_the_scale_of_most_of_them() -> None:
    honest = np.random.default_rng(0).normal(5, 2, 1001)
    assert np.std(standardised(honest)) == pytest.approx(1, rel=0.1)
    with_hostile = standardised(np.concatenate((honest, np.full(400, 1e300))))
    assert 0.4 < np.std(with_hostile[:1001]) < 1.1
    np.testing.assert_array_equal(with_hostile[1001:], 10)


def test_standardised_slopes_where_most_are_equal() -> None:
    np.testing.assert_array_equal(standardised(np.full(5, 3.0)), np.zeros(5))
    np.testing.assert_allclose(standardised(np.array([0.0, 0, 0, 5])), np.array([0, 0, 0, 5]) / np.std([0, 0, 0, 5]))
    np.testing.assert_allclose(standardised(np.array([0.0, 1e-320, 1e300])), [-1 / 1.4826, 0, 10], rtol=1e-2)


def test_what_is_a_thousand_times_the_median_is_not_plausible() -> None:
    assert plausible(np.array([[1], [-1], [999], [1001]], np.float32)).tolist() == [True, True, True, True]
    assert plausible(np.array([[1], [-1], [1], [999], [1001]], np.float32)).tolist() == [True] * 4 + [False]
    assert plausible(np.array([[0], [0], [0], [1]], np.float32)).all()
