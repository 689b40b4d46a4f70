import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.cohort import EMPTY, Cohort, Reduced, State
from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.parts import Reduce, ServerAt
from qfedfm.core.stack import bind
from tests.peers import byzfl
from tests.reduces.cohorts import HUGE, cohort_of, exact_squares, normal, server_at


def lifted(hostile: int, cohort: Cohort) -> Cohort:
    before = cohort.X.copy()
    result = qf.layers.Nnm(hostile).lift(cohort, server_at(cohort.layout.size))
    np.testing.assert_array_equal(cohort.X, before)
    return result


def brute_force(X: np.ndarray, hostile: int) -> np.ndarray:
    near = np.argsort(exact_squares(X), axis=1, kind="stable")[:, : len(X) - hostile]
    return np.array([X[rows].astype(np.float64).mean(axis=0) for rows in near])


@pytest.mark.parametrize(("n", "hostile"), [(1, 0), (3, 1), (10, 3), (21, 10)])
def test_agrees_with_the_definition_and_with_byzfl(n: int, hostile: int) -> None:
    X = normal(n, 600, seed=n)
    mixed = lifted(hostile, cohort_of(X)).X
    np.testing.assert_allclose(mixed, brute_force(X, hostile), rtol=1e-5, atol=1e-6)
    theirs = byzfl("aggregators.preaggregators").NNM(hostile)(X.astype(np.float64))
    np.testing.assert_allclose(mixed, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("offset", [1e3, 1e5])
def test_a_common_offset_does_not_change_the_neighbours(offset: float) -> None:
    X = normal(10, 600) + np.float32(offset)
    np.testing.assert_allclose(lifted(3, cohort_of(X)).X, brute_force(X, 3), rtol=1e-6)


def test_huge_updates_leave_nothing_in_the_rows_of_the_others() -> None:
    X = normal(10, 300, scale=1e-3)
    X[[1, 5]], X[8] = HUGE, -np.finfo(np.float32).max
    honest = np.delete(X, [1, 5, 8], axis=0)
    rows = np.delete(lifted(3, cohort_of(X)).X, [1, 5, 8], axis=0)
    np.testing.assert_allclose(rows, np.tile(honest.astype(np.float64).mean(axis=0), (7, 1)), rtol=1e-5, atol=1e-9)


def test_the_largest_numbers_do_not_overflow() -> None:
    X = np.full((7, 4), np.finfo(np.float32).max)
    np.testing.assert_allclose(lifted(2, cohort_of(X)).X, X, rtol=1e-6)


def test_equal_updates_stay_as_they_are() -> None:
    X = np.tile(normal(1, 50), (5, 1))
    np.testing.assert_allclose(lifted(2, cohort_of(X)).X, X, rtol=1e-6)


def test_the_mixing_is_that_of_the_rows_and_composes_with_an_earlier_one() -> None:
    cohort = cohort_of(normal(9, 40))
    once = lifted(2, cohort)
    np.testing.assert_allclose(once.mixing @ cohort.X, once.X, atol=1e-6)
    np.testing.assert_allclose(once.mixing.sum(axis=1), 1)
    twice = lifted(3, once)
    np.testing.assert_allclose(twice.mixing @ cohort.X, twice.X, atol=1e-6)
    assert twice.members == cohort.clients


def test_weights_of_rows_come_back_to_clients_through_the_stack() -> None:
    X = normal(9, 40)
    X[[3, 4]] = 50 + 30 * X[[3, 4]]
    bound = bind(
        qf.stack(qf.layers.Nnm(2), reduce=qf.reduces.MultiKrum(2)),
        cohort_of(X).layout, tuple(range(9)), cohort=9, validation=0,
    )  # fmt: skip
    result, _ = bound.reduce(cohort_of(X), EMPTY, server_at(40))
    weights = np.array([result.client_weights[client] for client in range(9)])
    np.testing.assert_allclose(weights @ X, result.vector, atol=1e-5)
    assert weights[[3, 4]].tolist() == [0, 0]


def test_a_reduce_that_judges_single_clients_is_refused_above_it() -> None:
    class Reputation(Reduce):
        name, per_client = "reputation", True

        def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
            return Reduced(cohort.X[0]), state

    with pytest.raises(StackError, match="merges the rows"):
        qf.stack(qf.layers.Nnm(1), reduce=Reputation())


def test_refuses_what_it_is_not_defined_for() -> None:
    with pytest.raises(ConfigError, match="hostile"):
        qf.layers.Nnm(-1)
    with pytest.raises(StackError, match="at least 5"):
        lifted(2, cohort_of(normal(4, 3)))
