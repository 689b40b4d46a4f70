"""Distances in float32 against the same in float64, on cohorts large enough that float32 is used."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import qfedfm as qf
from qfedfm.core import cohort as cohort_module
from qfedfm.core.distances import gram, squared_distances
from qfedfm.core.pairs import Distances, distances, doubtful, inner_products
from qfedfm.core.stack import bind
from tests.reduces.cohorts import HUGE, cohort_of, normal, server_at

N, D = 24, 120_000
IDS = tuple(range(N))


def exact(X: np.ndarray) -> np.ndarray:
    """By the definition: differences in float64, row by row."""
    wide = X.astype(np.float64)
    return np.array([np.einsum("nd,nd->n", wide - row, wide - row) for row in wide])


def duplicates_far_out(X: np.ndarray) -> np.ndarray:
    X[5] = X[3]
    X[9] = 1e3 * X[9]
    X[11] = X[9] * np.float32(1 + 1e-6)
    return X


COHORTS = {
    "normal": lambda X: X,
    "a common drift": lambda X: X + np.float32(30),
    "heavy tails": lambda X: np.random.default_rng(0).standard_t(2, X.shape).astype(np.float32),
    "constant rows": lambda X: np.repeat(np.arange(1, N + 1, dtype=np.float32)[:, None] / 3, D, axis=1),
    "norms of all sizes": lambda X: X * np.logspace(-6, 3, N, dtype=np.float32)[:, None],
    "copies and near copies": duplicates_far_out,
    "large in one place": lambda X: X * np.where(np.arange(D) == 77_777, np.float32(1e30), np.float32(1)),
    "small in one place": lambda X: X * np.where(np.arange(D) < 2048, np.float32(1e-25), np.float32(1)),
    "too large to square": lambda X: X * np.float32(1e30),
    "too small to square": lambda X: X * np.float32(1e-30),
    "mostly zeros": lambda X: X * (np.arange(D) > D - 5000),
}


@pytest.mark.parametrize("name", COHORTS)
def test_every_distance_is_within_its_error(name: str) -> None:
    X = np.ascontiguousarray(COHORTS[name](normal(N, D)), np.float32)
    found, expected = distances(X, IDS), exact(X)
    assert (np.abs(found.squares - expected) <= found.errors + 1e-11 * expected).all()
    assert (found.errors <= 4e-5 * expected).all()
    np.testing.assert_array_equal(found.squares == 0, expected == 0)


@pytest.mark.parametrize("name", COHORTS)
def test_every_inner_product_is_within_its_error(name: str) -> None:
    X = np.ascontiguousarray(COHORTS[name](normal(N, D)), np.float32)
    wide = X.astype(np.float64)
    exact_products = wide @ wide.T
    norms = np.sqrt(np.diagonal(exact_products))
    found = inner_products(X, IDS)
    assert (np.abs(found - exact_products) <= 2.0**-17 * norms * norms[:, None]).all()
    order = np.random.default_rng(0).permutation(N)
    np.testing.assert_array_equal(inner_products(X[order], tuple(order.tolist())), found[np.ix_(order, order)])


def test_float32_is_used_where_it_is_safe_and_only_there() -> None:
    X = normal(N, D)
    assert (distances(X, IDS).errors > 0).sum() == N * (N - 1)
    assert (distances(X + np.float32(30), IDS).errors > 0).sum() == N * (N - 1)
    assert not distances(X[:, :5000], IDS).errors.any()
    assert not distances(X * np.float32(1e30), IDS).errors.any()
    X[:10] = X[:1] + np.float32(1e-3) * X[:10]
    assert not distances(X, IDS).errors.any()


def test_a_huge_row_leaves_the_others_as_they_are() -> None:
    X = normal(N, D, scale=1e-3)
    X[0], X[7, 50_000] = HUGE, -HUGE
    found, expected = distances(X, IDS), exact(X)
    np.testing.assert_allclose(found.squares, expected, rtol=1e-5)
    wide = X.astype(np.longdouble) - X[1]
    np.testing.assert_allclose(found.gram(1), (wide @ wide.T).astype(np.float64), rtol=1e-3, atol=1e-4)


def test_another_order_of_the_rows_gives_the_same_bits() -> None:
    X = normal(N, D)
    X[4] = X[6]
    order = np.random.default_rng(1).permutation(N)
    straight, shuffled = distances(X, IDS), distances(np.ascontiguousarray(X[order]), tuple(order.tolist()))
    np.testing.assert_array_equal(straight.squares[np.ix_(order, order)], shuffled.squares)


REDUCES = (
    qf.reduces.Mean(), qf.reduces.Median(), qf.reduces.TrimmedMean(3), qf.reduces.Krum(3), qf.reduces.MultiKrum(3),
    qf.reduces.GeometricMedian(),
)  # fmt: skip


def test_the_number_of_threads_changes_no_bit() -> None:
    X = normal(N, D + 77) + np.float32(0.3)
    at, results = server_at(D + 77), []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            cohort = cohort_of(X, weights=range(1, N + 1))
            vectors = [reduce.reduce(cohort, {}, at)[0].vector for reduce in REDUCES]
            results.append([cohort.distances.squares, qf.layers.Nnm(3).lift(cohort, at).X, *vectors])
    for one, two, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def mirrored(seed: int) -> np.ndarray:
    """Rows 2 and 3 are each other's halves swapped, all others are their own: whatever holds for one holds for both."""
    half = normal(N, D // 2, seed)
    X = np.concatenate([half, half], axis=1)
    X[2:4] *= np.float32(0.5)
    X[2, : D // 2] = normal(1, D // 2, seed + 100) * np.float32(0.5)
    X[3] = np.roll(X[2], D // 2)
    return X


def test_rounding_does_not_decide_between_ties() -> None:
    for seed in range(8):
        X = mirrored(seed)
        swapped = X.copy()
        swapped[[2, 3]] = X[[3, 2]]
        for rows in (X, swapped):
            assert np.argmax(qf.reduces.Krum(3).reduce(cohort_of(rows), {}, server_at(D))[0].row_weights) == 2
            neighbours = distances(rows, IDS).nearest(2)
            assert neighbours[:, 2].all()
            assert neighbours.sum(axis=1).tolist() == [2] * N
            np.testing.assert_array_equal(neighbours[:, 3], np.isin(np.arange(N), (2, 3)))


def test_neighbours_at_the_boundary_are_told_apart_in_float64() -> None:
    X = normal(N, D)
    X[1] = X[0] + normal(1, D, 7)
    expected = exact(X)
    near = np.argsort(np.argsort(expected, axis=1, kind="stable"), axis=1) < 9
    np.testing.assert_array_equal(distances(X, IDS).nearest(9), near)
    for spread in (1e-4, 1e-2):
        noise = np.random.default_rng(5).uniform(-spread, spread, (N, N))
        fuzzy = Distances(expected * (1 + (noise + noise.T) / 2), spread * expected, None, X, IDS)
        np.testing.assert_array_equal(fuzzy.nearest(9), near)


def test_nearest_counts_the_row_itself() -> None:
    X = np.array([[0.0], [1.0], [3.0], [10.0]], np.float32)
    assert distances(X, (0, 1, 2, 3)).nearest(2).astype(int).tolist() == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [0, 1, 1, 0],
        [0, 0, 1, 1],
    ]


def test_what_lies_within_its_error_of_the_boundary_is_doubtful() -> None:
    values, errors = np.array([5.0, 1.0, 2.0, 2.2]), np.array([0.0, 0.0, 0.2, 0.0])
    assert doubtful(values, errors, 2).tolist() == [False, False, True, False]
    assert not doubtful(values, errors, 1).any()
    assert not doubtful(values, errors + 9, 4).any()


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The matrices of which distances were computed."""
    seen: list[np.ndarray] = []

    def counted(X: np.ndarray, clients: tuple[int, ...]) -> Distances:
        seen.append(X)
        return distances(X, clients)

    monkeypatch.setattr(cohort_module, "distances", counted)
    return seen


@pytest.mark.parametrize("reduce", [qf.reduces.Krum(3), qf.reduces.MultiKrum(3), qf.reduces.GeometricMedian()])
def test_a_stack_computes_the_distances_once(reduce, computed: list[np.ndarray]) -> None:
    cohort = cohort_of(normal(N, D))
    bound = bind(qf.stack(qf.layers.Nnm(3), reduce=reduce), cohort.layout, IDS, cohort=N, validation=0)
    once, _ = bound.reduce(cohort, {}, server_at(D))
    assert len(computed) == 1
    lifted = qf.layers.Nnm(3).lift(cohort, server_at(D))
    again, _ = reduce.reduce(cohort_of(lifted.X), {}, server_at(D))
    np.testing.assert_allclose(once.vector, again.vector, rtol=1e-4, atol=1e-6)


def test_reduces_of_one_cohort_share_the_distances(computed: list[np.ndarray]) -> None:
    cohort = cohort_of(normal(N, 50))
    for reduce in (qf.reduces.Krum(3), qf.reduces.MultiKrum(3), qf.reduces.GeometricMedian()):
        reduce.reduce(cohort, {}, server_at(50))
    qf.layers.Nnm(3).lift(cohort, server_at(50))
    assert len(computed) == 1


@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize("d", [60, D])
def test_distances_of_mixtures_follow_from_those_of_the_rows(d: int, copied: bool) -> None:
    X = normal(N, d) + np.float32(5)
    X[3] = 1e4
    X[8] = X[2] if copied else X[8]
    lifted = qf.layers.Nnm(6).lift(cohort_of(X), server_at(d))
    assert "distances" in lifted.__dict__
    mixtures = lifted.mixing @ X.astype(np.float64)
    np.testing.assert_allclose(lifted.distances.squares, exact_wide(mixtures), rtol=2e-4, atol=1e-9)


def exact_wide(X: np.ndarray) -> np.ndarray:
    return np.array([np.einsum("nd,nd->n", X - row, X - row) for row in X])


def test_mixtures_that_share_a_huge_row_are_computed_again() -> None:
    X = normal(7, 40)
    X[:6] = HUGE * np.sign(X[:6])
    lifted = qf.layers.Nnm(0).lift(cohort_of(X), server_at(40))
    assert (lifted.distances.squares == 0).all()
    assert squared_distances(gram(lifted.X, lifted.clients)).max() == 0


def test_the_geometric_median_of_a_large_cohort_with_a_huge_client() -> None:
    X = normal(N, D, scale=1e-3)
    X[4] = HUGE
    result, _ = qf.reduces.GeometricMedian().reduce(cohort_of(X), {}, server_at(D))
    away = result.vector.astype(np.float64) - X
    pull = np.full(N, 1 / N) / np.linalg.norm(away, axis=1)
    assert np.linalg.norm(pull @ away) < 1e-4
