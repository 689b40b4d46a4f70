import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.cohort import EMPTY
from qfedfm.core.errors import ConfigError, StackError
from tests.peers import byzfl
from tests.reduces.cohorts import HUGE, cohort_of, exact_squares, normal, reduced, server_at


def brute_force(X: np.ndarray, hostile: int, select: int) -> np.ndarray:
    squares = exact_squares(X)
    n = len(X)
    scores = [sum(sorted(np.delete(squares[i], i))[: n - hostile - 2]) for i in range(n)]
    return X[np.argsort(scores, kind="stable")[:select]].astype(np.float64).mean(axis=0)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("n", "hostile", "select"), [(5, 1, None), (12, 3, None), (12, 3, 5), (9, 0, 9)])
def test_averages_what_the_definition_selects(n: int, hostile: int, select: int | None, seed: int) -> None:
    X = normal(n, 9, seed=seed)
    expected = brute_force(X, hostile, select or n - hostile)
    result = reduced(qf.reduces.MultiKrum(hostile, select), cohort_of(X, weights=range(1, n + 1)))
    np.testing.assert_allclose(result.vector, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(result.row_weights @ X, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_byzfl_which_counts_one_neighbour_more(seed: int) -> None:
    X = normal(15, 400, seed=seed)
    theirs = byzfl("aggregators.aggregators").MultiKrum(f=4)(X.astype(np.float64))
    ours = reduced(qf.reduces.MultiKrum(hostile=3, select=11), cohort_of(X)).vector
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_selecting_one_is_krum() -> None:
    cohort = cohort_of(normal(11, 50))
    one, krum = reduced(qf.reduces.MultiKrum(2, 1), cohort), reduced(qf.reduces.Krum(2), cohort)
    np.testing.assert_array_equal(one.vector, krum.vector)
    np.testing.assert_array_equal(one.row_weights, krum.row_weights)


def test_selecting_all_is_the_unweighted_mean() -> None:
    X = normal(11, 50)
    np.testing.assert_allclose(
        reduced(qf.reduces.MultiKrum(2, 11), cohort_of(X)).vector, X.astype(np.float64).mean(axis=0), atol=2e-7
    )


def test_a_huge_update_that_is_not_selected_leaves_nothing_behind() -> None:
    X = normal(9, 300, scale=1e-3)
    X[2], X[7] = HUGE, -HUGE
    expected = np.delete(X, [2, 7], axis=0).astype(np.float64).mean(axis=0)
    vector = reduced(qf.reduces.MultiKrum(2), cohort_of(X)).vector
    np.testing.assert_allclose(vector, expected, rtol=1e-6, atol=1e-10)


def test_selecting_the_largest_numbers_does_not_overflow() -> None:
    X = np.full((7, 5), np.finfo(np.float32).max)
    np.testing.assert_array_equal(reduced(qf.reduces.MultiKrum(2, 7), cohort_of(X)).vector, X[0])


def test_refuses_what_it_is_not_defined_for() -> None:
    for options in ({"hostile": -1}, {"select": 0}):
        with pytest.raises(ConfigError):
            qf.reduces.MultiKrum(**options)
    assert qf.reduces.MultiKrum(hostile=1, select=8).minimum_rows() == 8
    with pytest.raises(StackError, match="at least 8"):
        qf.reduces.MultiKrum(hostile=1, select=8).reduce(cohort_of(normal(7, 3)), EMPTY, server_at(3))
