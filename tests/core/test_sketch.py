"""The count sketch against its definition and its variance."""

import numpy as np
import pytest

from qfedfm.core.key import Key
from qfedfm.core.sketch import count_sketch
from tests.reduces.cohorts import HUGE, normal


def test_every_coordinate_goes_to_one_bucket_with_one_sign() -> None:
    S = count_sketch(np.eye(50, dtype=np.float32), 8, Key.of(1))
    np.testing.assert_array_equal(np.abs(S).sum(axis=1), np.ones(50))
    assert ((S != 0).sum(axis=1) == 1).all()
    X = normal(3, 50)
    np.testing.assert_allclose(count_sketch(X, 8, Key.of(1)), X.astype(np.float64) @ S, atol=1e-12)
    assert not np.array_equal(S, count_sketch(np.eye(50, dtype=np.float32), 8, Key.of(2)))


def test_the_inner_product_has_the_mean_and_the_variance_of_the_formula() -> None:
    x, y = normal(2, 40, seed=3).astype(np.float64)
    sketches = [count_sketch(np.stack((x, y)).astype(np.float32), 16, Key.of(seed)) for seed in range(4000)]
    found = np.array([a @ b for a, b in sketches])
    products = np.outer(x**2, y**2) + np.outer(x * y, x * y)
    variance = (products.sum() - np.trace(products)) / 16
    assert found.mean() == pytest.approx(float(x @ y), abs=4 * np.sqrt(variance / 4000))
    assert found.var() == pytest.approx(variance, rel=0.1)
    assert variance <= (x @ x * (y @ y) + (x @ y) ** 2) / 16


def test_unrelated_updates_have_the_floor_of_the_sketch() -> None:
    """E[cos²] = 1/m for normalised sketches, far above the 1/d of the updates."""
    S = count_sketch(normal(300, 5000), 15, Key.of(0))
    S /= np.linalg.norm(S, axis=1, keepdims=True)
    squares = (S @ S.T)[np.triu_indices(300, 1)] ** 2
    assert squares.mean() == pytest.approx(1 / 15, rel=0.05)


def test_a_short_update_is_not_sketched() -> None:
    X = normal(2, 5)
    np.testing.assert_array_equal(count_sketch(X, 7, Key.of(0)), np.pad(X, ((0, 0), (0, 2))))
    np.testing.assert_array_equal(count_sketch(X, 5, Key.of(0)), X)


def test_the_largest_numbers_do_not_overflow() -> None:
    assert np.isfinite(count_sketch(np.full((1, 1000), 3 * HUGE, np.float32), 3, Key.of(0))).all()
