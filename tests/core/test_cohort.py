import numpy as np
import pytest

from qfedfm.core.cohort import Cohort, Reduced
from qfedfm.core.errors import DataError
from qfedfm.core.layout import Layout

LAYOUT = Layout.of({"a": (3,)})
X = np.arange(6, dtype=np.float32).reshape(2, 3)
WEIGHTS = np.array([1.0, 3.0])


def test_rows_shares_and_members():
    cohort = Cohort(X, WEIGHTS, (7, 2), LAYOUT)
    assert cohort.n == 2
    assert cohort.members == (7, 2)
    np.testing.assert_array_equal(cohort.shares, [0.25, 0.75])
    assert cohort.shares.dtype == np.float64


def test_merged_rows_keep_the_clients_that_they_stand_for():
    mixing = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    cohort = Cohort(X, WEIGHTS, (1, 3), LAYOUT, mixing, (1, 2, 3))
    assert cohort.members == (1, 2, 3)


@pytest.mark.parametrize(
    ("X", "weights", "clients", "named"),
    [
        (X[:0], WEIGHTS[:0], (), "0 updates"),
        (X, WEIGHTS[:1], (1, 2), "1 weights"),
        (X, WEIGHTS, (1, 2, 3), "3 clients"),
        (X[:, :2].copy(), WEIGHTS, (1, 2), "length 2"),
        (X, WEIGHTS, (1, 1), "twice"),
        (np.asfortranarray(X), WEIGHTS, (1, 2), "contiguous"),
        (X, np.array([1.0, 0.0]), (1, 2), "positive"),
        (X, np.array([1.0, -1.0]), (1, 2), "positive"),
        (X, np.array([1.0, np.nan]), (1, 2), "positive"),
        (X, np.array([1.0, np.inf]), (1, 2), "positive"),
        (np.array([[1, 2, np.nan], [0, 0, 0]], np.float32), WEIGHTS, (1, 2), "NaN or infinite"),
        (np.array([[1, 2, np.inf], [0, 0, -np.inf]], np.float32), WEIGHTS, (1, 2), "NaN or infinite"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_refused(X, weights, clients, named):
    with pytest.raises(DataError, match=named):
        Cohort(X, weights, clients, LAYOUT)


def test_the_largest_numbers_are_finite():
    assert Cohort(np.full((2, 3), np.finfo(np.float32).max, np.float32), WEIGHTS, (1, 2), LAYOUT).n == 2


@pytest.mark.parametrize("mixing", [np.eye(3), np.ones((2, 2)), np.ones((1, 3))])
@pytest.mark.usefixtures("unchecked")
def test_a_mixing_of_other_rows_or_clients_is_refused(mixing):
    with pytest.raises(DataError, match="mixing"):
        Cohort(X, WEIGHTS, (1, 3), LAYOUT, mixing, (1, 2, 3))


def test_the_diagnostics_of_two_results_are_apart():
    assert Reduced(X[0]).diagnostics is not Reduced(X[0]).diagnostics
