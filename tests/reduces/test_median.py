import numpy as np
import pytest

import qfedfm as qf
from tests.peers import byzfl
from tests.reduces.cohorts import HUGE, cohort_of, normal, reduced


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9, 50])
def test_agrees_with_numpy_and_with_the_statistics_of_each_coordinate(n: int) -> None:
    X = normal(n, 2500, seed=n)
    np.testing.assert_allclose(
        reduced(qf.reduces.Median(), cohort_of(X)).vector, np.median(X.astype(np.float64), axis=0), rtol=1e-7
    )


def test_agrees_with_byzfl_for_an_odd_number_of_updates() -> None:
    X = normal(11, 700)
    theirs = byzfl("aggregators.aggregators").Median()(X)
    np.testing.assert_array_equal(reduced(qf.reduces.Median(), cohort_of(X)).vector, theirs)


def test_sample_weights_do_not_count() -> None:
    X = normal(5, 100)
    plain = reduced(qf.reduces.Median(), cohort_of(X)).vector
    np.testing.assert_array_equal(reduced(qf.reduces.Median(), cohort_of(X, weights=[1, 1000, 1, 1, 7])).vector, plain)


def test_halving_neither_overflows_nor_underflows() -> None:
    largest, smallest = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)
    X = np.array([[largest, smallest], [largest, smallest]], np.float32)
    np.testing.assert_array_equal(reduced(qf.reduces.Median(), cohort_of(X)).vector, X[0])


def test_stays_between_the_honest_values_under_huge_updates() -> None:
    X = normal(9, 3000, scale=1e-3)
    X[:4] = HUGE
    honest = X[4:]
    vector = reduced(qf.reduces.Median(), cohort_of(X)).vector
    assert (vector >= honest.min(axis=0)).all()
    assert (vector <= honest.max(axis=0)).all()
