import numpy as np
import pytest

from qfedfm.core.distances import gram, ranking, squared_distances
from tests.reduces.cohorts import HUGE, exact_squares, normal


def distances(X: np.ndarray, clients: tuple[int, ...] | None = None) -> np.ndarray:
    return squared_distances(gram(X, tuple(range(len(X))) if clients is None else clients))


@pytest.mark.parametrize("scale", [1e-38, 1e-3, 1.0, 1e37])
def test_distances_agree_with_their_definition_at_every_scale(scale: float) -> None:
    X = normal(9, 5000, scale=scale)
    np.testing.assert_allclose(distances(X), exact_squares(X).astype(np.float64), rtol=1e-12)


@pytest.mark.parametrize("offset", [1e2, 1e4, 1e6])
def test_an_offset_common_to_all_rows_costs_no_precision(offset: float) -> None:
    X = normal(8, 3000) + np.float32(offset)
    np.testing.assert_allclose(distances(X), exact_squares(X).astype(np.float64), rtol=1e-12)


def test_one_huge_row_does_not_disturb_the_distances_of_the_others() -> None:
    X = normal(8, 3000, scale=1e-3)
    X[0] = HUGE
    X[3] = -HUGE
    np.testing.assert_allclose(distances(X), exact_squares(X).astype(np.float64), rtol=1e-12)


def test_hostile_rows_opposite_to_a_common_offset_do_not_take_the_centre_far_enough_to_matter() -> None:
    X = normal(9, 3000) + np.float32(1e4)
    X[::2][:4] *= -1
    np.testing.assert_allclose(distances(X), exact_squares(X).astype(np.float64), rtol=1e-6)


def test_equal_rows_are_exactly_at_distance_zero() -> None:
    X = normal(7, 4100)
    X[2] = X[5] = X[0]
    D = distances(X)
    assert D[0, 2] == D[2, 5] == D[0, 5] == 0
    assert (D[0, [1, 3, 4, 6]] > 0).all()
    assert (np.diagonal(D) == 0).all()


def test_another_order_of_the_rows_gives_the_same_bits() -> None:
    X, ids = normal(13, 5000), np.arange(40, 53)
    order = np.random.default_rng(1).permutation(13)
    straight = gram(X, tuple(ids.tolist()))
    shuffled = gram(np.ascontiguousarray(X[order]), tuple(ids[order].tolist()))
    np.testing.assert_array_equal(straight[np.ix_(order, order)], shuffled)


def test_ranking_breaks_ties_by_client_id_and_takes_rounding_for_a_tie() -> None:
    values = np.array([3.0, 1.0 + 1e-15, 1.0, 1.0 - 1e-15, 0.5])
    assert ranking(values, (0, 9, 5, 7, 8)).tolist() == [4, 2, 3, 1, 0]
    assert ranking(values * 1e200, (0, 9, 5, 7, 8)).tolist() == [4, 2, 3, 1, 0]
    assert ranking(np.array([1.0, 1.0 - 1e-8]), (0, 1)).tolist() == [1, 0]
