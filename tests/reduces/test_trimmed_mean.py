import numpy as np
import pytest
from scipy import stats

import qfedfm as qf
from qfedfm.core.cohort import EMPTY
from qfedfm.core.errors import ConfigError, StackError
from tests.peers import byzfl
from tests.reduces.cohorts import HUGE, cohort_of, normal, reduced, server_at


@pytest.mark.parametrize(("n", "hostile"), [(1, 0), (5, 2), (10, 3), (41, 7)])
def test_agrees_with_scipy_and_byzfl(n: int, hostile: int) -> None:
    X = normal(n, 2500, seed=n)
    vector = reduced(qf.reduces.TrimmedMean(hostile), cohort_of(X)).vector
    np.testing.assert_allclose(
        vector, stats.trim_mean(X.astype(np.float64), (hostile + 0.5) / n, axis=0), rtol=2e-6, atol=1e-7
    )
    np.testing.assert_allclose(
        vector, byzfl("aggregators.aggregators").TrMean(hostile)(X.astype(np.float64)), rtol=2e-6, atol=1e-7
    )


def test_with_nothing_trimmed_it_is_the_unweighted_mean() -> None:
    X = normal(7, 300)
    vector = reduced(qf.reduces.TrimmedMean(0), cohort_of(X, weights=range(1, 8))).vector
    np.testing.assert_allclose(vector, X.astype(np.float64).mean(axis=0), rtol=1e-6)


def test_with_all_but_one_trimmed_it_is_the_median() -> None:
    cohort = cohort_of(normal(7, 300))
    np.testing.assert_array_equal(
        reduced(qf.reduces.TrimmedMean(3), cohort).vector, reduced(qf.reduces.Median(), cohort).vector
    )


def test_huge_updates_leave_no_rounding_behind() -> None:
    honest = normal(6, 200)
    X = np.concatenate([honest, np.full((1, 200), HUGE), np.full((1, 200), -HUGE)])
    expected = honest.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(reduced(qf.reduces.TrimmedMean(1), cohort_of(X)).vector, expected, rtol=1e-6)


def test_refuses_what_it_is_not_defined_for() -> None:
    with pytest.raises(ConfigError, match="hostile = -1"):
        qf.reduces.TrimmedMean(-1)
    with pytest.raises(StackError, match="at least 5"):
        qf.reduces.TrimmedMean(2).reduce(cohort_of(normal(4, 3)), EMPTY, server_at(3))
