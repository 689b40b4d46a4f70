import itertools

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.key import Key
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Outcome
from qfedfm.quantum.executors.ideal import Shots
from qfedfm.quantum.qaoa import Quadratic, approximation_ratio, brute_force, xy_qaoa_circuit
from qfedfm.reduces.annealed_selection import annealed
from qfedfm.reduces.qaoa_selection import trained, uniform, unit
from qfedfm.reduces.selection import closeness
from tests.reduces.cohorts import cohort_of, normal, reduced

REDUCES = [
    qf.reduces.ExactSelection,
    qf.reduces.AnnealedSelection,
    qf.reduces.GreedySelection,
    qf.reduces.QaoaSelection,
]


def attacked(seed, honest=5, hostile=2, d=6):
    """Honest updates around a common one, hostile ones on its other side; the hostile rows are the last."""
    X = normal(honest + hostile, d, seed=seed)
    X[:honest] += 3
    X[honest:] = -3 * X[honest:] - 6
    return X


def problem_of(seed, n=7):
    X = normal(n, 5, seed=seed)
    return closeness(np.square(X[:, None] - X).sum(-1).astype(np.float64))


@pytest.mark.parametrize("reduce", REDUCES)
@pytest.mark.parametrize("seed", range(3))
def test_hostile_updates_that_lie_apart_are_left_out(reduce, seed):
    X, weights = attacked(seed), np.arange(1.0, 8.0)
    found = reduced(reduce(hostile=2), cohort_of(X, weights))
    np.testing.assert_allclose(found.row_weights, [*(weights[:5] / 15), 0, 0])
    np.testing.assert_allclose(found.vector, weights[:5] @ X[:5].astype(np.float64) / 15, rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_exact_choice_is_that_of_a_loop_over_all(seed):
    X = normal(6, 4, seed=seed)
    squares = np.square(X[:, None].astype(np.float64) - X).sum(-1)
    pairs = squares[np.triu_indices(6, 1)]
    cost = {
        kept: sum(min(squares[i, j] / np.median(pairs), 10) for i, j in itertools.combinations(kept, 2))
        for kept in itertools.combinations(range(6), 4)
    }
    found = reduced(qf.reduces.ExactSelection(hostile=2), cohort_of(X))
    best = min(cost, key=lambda kept: cost[kept])
    assert tuple(np.flatnonzero(found.row_weights)) == best
    assert found.diagnostics["selection_value"] == pytest.approx(cost[best])


@pytest.mark.parametrize("seed", range(5))
def test_annealing_finds_the_best_of_a_small_problem_and_its_value_is_right(seed):
    problem = problem_of(seed, 9)
    bits, value = annealed(problem, 6, 50, Key.of(seed))
    assert bits.sum() == 6
    assert value == pytest.approx(float(problem.value(bits.astype(float))))
    assert value == pytest.approx(brute_force(problem, 6).best)


def test_greedy_leaves_out_the_farthest_first():
    Q = np.zeros((4, 4))
    Q[3, :3] = Q[:3, 3] = 5
    Q[2, :2] = Q[:2, 2] = 1
    found = qf.reduces.GreedySelection(hostile=1).choose(Quadratic(Q), 2, Key.of(0))
    assert found.bits.tolist() == [True, True, False, False]


@pytest.mark.parametrize("mixer", ["ring", "complete"])
def test_training_beats_the_ramp_and_chance_and_deeper_circuits_are_no_worse(mixer):
    problem, ratios = unit(problem_of(3)), []
    for depth in (1, 2):
        circuit = Circuit(xy_qaoa_circuit(problem, 5, depth, mixer))
        ratios += [approximation_ratio(problem, trained(circuit, problem, depth, steps)[1], 5) for steps in (0, 60)]
    chance = approximation_ratio(problem, uniform(7, 5), 5)
    assert ratios[1] > ratios[0]
    assert ratios[3] > ratios[2]
    assert ratios[3] >= ratios[1] - 1e-3
    assert min(ratios[1], ratios[3]) > chance
    assert max(ratios) <= 1


def test_outcomes_of_equal_probability():
    found = uniform(4, 2)
    assert found.sum() == pytest.approx(1)
    assert sorted(np.flatnonzero(found)) == [0b0011, 0b0101, 0b0110, 0b1001, 0b1010, 0b1100]


def test_the_cost_of_a_choice_is_in_the_history():
    found = reduced(qf.reduces.QaoaSelection(hostile=1, steps=5, shots=20), cohort_of(normal(5, 4)))
    assert found.diagnostics["circuits_exact"] == 6
    assert found.diagnostics["circuits_shots"] == 1
    assert found.diagnostics["shots"] == 20
    assert 0 <= found.diagnostics["approximation_ratio"] <= 1


@pytest.mark.parametrize("reduce", REDUCES)
def test_equal_updates_leave_nothing_to_choose(reduce):
    found = reduced(reduce(hostile=1), cohort_of(np.ones((4, 3), np.float32)))
    assert np.count_nonzero(found.row_weights) == 3
    np.testing.assert_allclose(found.vector, 1)


@pytest.mark.parametrize("reduce", REDUCES)
def test_bad_input(reduce):
    with pytest.raises(StackError, match="at least 5"):
        reduced(reduce(hostile=2), cohort_of(normal(4, 3)))
    with pytest.raises(ConfigError):
        reduce(hostile=-1)


def test_too_many_clients_for_a_circuit_or_for_all_choices():
    with pytest.raises(ConfigError, match=r"17 clients.*annealed-selection"):
        reduced(qf.reduces.QaoaSelection(), cohort_of(normal(17, 3)))
    with pytest.raises(ConfigError, match="20"):
        reduced(qf.reduces.ExactSelection(), cohort_of(normal(21, 3)))


def test_closeness_where_most_updates_are_equal():
    squares = np.zeros((5, 5))
    squares[4, :4] = squares[:4, 4] = 7.0
    np.testing.assert_allclose(closeness(squares).Q[4, :4], 0.5)
    assert closeness(np.zeros((3, 3))) is None
    huge = np.where(squares > 0, 1e70, 1.0) * (1 - np.eye(5))
    np.testing.assert_allclose(closeness(huge).Q[4], [5, 5, 5, 5, 0])


@pytest.mark.parametrize("seed", range(4))
def test_the_diameter_is_that_of_a_loop_over_all(seed):
    X = normal(7, 4, seed=seed)
    widths = {
        kept: max(np.linalg.norm(X[i].astype(np.float64) - X[j]) for i, j in itertools.combinations(kept, 2))
        for kept in itertools.combinations(range(7), 5)
    }
    best = min(widths, key=lambda kept: widths[kept])
    found = reduced(qf.reduces.ExactSelection(hostile=2, objective="diameter"), cohort_of(X))
    assert tuple(np.flatnonzero(found.row_weights)) == best
    assert found.diagnostics["diameter"] == pytest.approx(widths[best], rel=1e-5)
    assert 1 <= found.diagnostics["thresholds"] <= 5
    for reduce in REDUCES[1:]:
        other = reduced(reduce(hostile=2, objective="diameter"), cohort_of(X))
        kept = tuple(np.flatnonzero(other.row_weights))
        assert len(kept) == 5
        assert other.diagnostics["diameter"] == pytest.approx(widths[kept], rel=1e-5)
        assert widths[kept] >= widths[best]


def test_the_x_mixer_with_its_penalty_finds_a_choice_of_the_right_size():
    cohort = cohort_of(attacked(0))
    found = reduced(qf.reduces.QaoaSelection(hostile=2, mixer="x", depth=2, steps=60, shots=400), cohort)
    np.testing.assert_allclose(found.row_weights, [0.2] * 5 + [0, 0])
    assert 0 < found.diagnostics["feasible"] < 1
    assert found.diagnostics["approximation_ratio"] > found.diagnostics["random_ratio"]


def test_where_no_outcome_has_the_right_size_all_are_taken(monkeypatch):
    def zeros(self, circuit, parameters, key):
        probabilities = np.zeros((len(parameters), 2**circuit.qubits))
        probabilities[:, 0] = 1
        return Outcome(probabilities, None, len(parameters), 9, "noise")

    monkeypatch.setattr(Shots, "run", zeros)
    found = reduced(qf.reduces.QaoaSelection(hostile=2, steps=1), cohort_of(attacked(0)))
    np.testing.assert_allclose(found.row_weights, 1 / 7)
    assert found.diagnostics["feasible"] == 0
    assert found.diagnostics["circuits_noise"] == 1
