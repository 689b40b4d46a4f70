import itertools
import math

import numpy as np
import pytest
import torch

import qfedfm as qf
from qfedfm.core.sums import COLUMNS, LARGEST, RunningMean, saturate, weighted_sum
from tests.reduces.cohorts import HUGE, cohort_of, normal, reduced


@pytest.mark.parametrize("d", [1, COLUMNS - 1, COLUMNS, 3 * COLUMNS + 5])
def test_weighted_sums_agree_with_float64(d: int) -> None:
    X, W = normal(7, d), np.random.default_rng(0).random((3, 7))
    before = X.copy()
    np.testing.assert_allclose(weighted_sum(W, X), W @ X.astype(np.float64), atol=5e-6)
    np.testing.assert_allclose(weighted_sum(W[0], X), W[0] @ X.astype(np.float64), atol=5e-6)
    np.testing.assert_array_equal(X, before)


def test_a_sum_beyond_float32_is_its_largest_number() -> None:
    X = np.full((3, 4), 3e38, np.float32) * np.array([1, 1, -1, -1], np.float32)
    np.testing.assert_array_equal(weighted_sum(np.ones(3), X), LARGEST * np.sign(X[0]))
    np.testing.assert_array_equal(saturate(np.array([1e300, -1e39, 0.5])), np.array([LARGEST, -LARGEST, 0.5]))


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000])
def test_the_mean_is_that_of_exact_sums(n: int) -> None:
    X, weights = normal(n, 50, seed=n), np.random.default_rng(n).integers(1, 1000, n) * 1.0
    expected = [math.fsum(w * float(x) for w, x in zip(weights, column, strict=True)) for column in X.T]
    vector = reduced(qf.reduces.Mean(), cohort_of(X, weights)).vector
    np.testing.assert_allclose(vector, np.array(expected) / weights.sum(), rtol=0, atol=1e-6 * np.abs(X).max())


def test_the_rounding_of_a_mean_does_not_grow_with_the_clients() -> None:
    X = np.full((20_000, 1), 0.1, np.float32)
    assert reduced(qf.reduces.Mean(), cohort_of(X)).vector[0] == pytest.approx(float(np.float32(0.1)), rel=3e-7)


def test_huge_clients_of_opposite_signs_cancel_whatever_block_they_are_in() -> None:
    X = np.zeros((130, 3), np.float32)
    X[:65], X[65:] = LARGEST, -LARGEST
    vector = reduced(qf.reduces.Mean(), cohort_of(X)).vector
    assert np.isfinite(vector).all()
    assert np.abs(vector).max() <= 1e-6 * LARGEST


@pytest.mark.parametrize("value", [LARGEST, -LARGEST, 1e38])
def test_a_mean_of_the_largest_numbers_is_theirs(value: float) -> None:
    X = np.full((70, 5), value, np.float32)
    weights = np.random.default_rng(0).integers(1, 10**6, 70)
    np.testing.assert_allclose(reduced(qf.reduces.Mean(), cohort_of(X, weights)).vector, X[0], rtol=1e-6)


def test_one_update_comes_out_bit_by_bit() -> None:
    X = normal(1, 1000)
    np.testing.assert_array_equal(reduced(qf.reduces.Mean(), cohort_of(X, weights=[37])).vector, X[0])


def test_a_block_may_hold_weights_of_zero() -> None:
    mean = RunningMean(4)
    X = np.array([[HUGE] * 4, [1, 2, 3, 4]], np.float32)
    mean.add(X, np.array([0.0, 3.0]))
    np.testing.assert_allclose(mean.finish(), [1, 2, 3, 4])


@pytest.mark.parametrize("d", [1, 29_999, 60_000, 60_001, 100_003])
@pytest.mark.parametrize("n", [3, 70])
def test_the_bits_of_a_mean_do_not_depend_on_threads_or_on_where_rows_lie(n: int, d: int) -> None:
    X, weights = normal(n, d), np.random.default_rng(2).random(n)
    apart = np.zeros((n, d + 3), np.float32)
    apart[:, 3:] = X
    means = []
    for count, rows in itertools.product((1, 2, 3), (X, apart[:, 3:])):
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            mean = RunningMean(d)
            mean.add(rows[:2], weights[:2])
            mean.add(rows[2:], weights[2:])
            means.append(mean.finish())
        finally:
            torch.set_num_threads(before)
    np.testing.assert_allclose(means[0], weights @ X.astype(np.float64) / weights.sum(), atol=5e-6)
    for other in means[1:]:
        np.testing.assert_array_equal(means[0], other)
