import math
import tracemalloc

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.cohort import Cohort
from qfedfm.core.errors import DataError, StackError
from qfedfm.core.layout import Layout
from qfedfm.core.stack import Bound, bind, stack
from qfedfm.core.sums import block_rows
from tests.core.parts import LAYOUT, Average, Pairs, server_at

POPULATION = tuple(range(20_000))


def bound(*layers, reduce=None, layout=LAYOUT) -> Bound:
    return bind(stack(*layers, reduce=reduce or qf.reduces.Mean()), layout, POPULATION, cohort=100, validation=0)


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, LAYOUT.size)).astype(np.float32)


def collected(pair: Bound, X: np.ndarray, weights: np.ndarray, clients, largest: int):
    collector = pair.collect(largest)
    buffer = np.empty(X.shape[1], np.float32)
    for client, x, weight in zip(clients, X, weights, strict=True):
        buffer[:] = x
        collector.add(client, buffer, weight)
        buffer[:] = np.nan
    assert collector.count == len(X)
    return collector.finish({}, server_at())


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 140])
@pytest.mark.parametrize("reduce", [qf.reduces.Mean(), qf.reduces.Median(), Average()], ids=lambda reduce: reduce.name)
def test_one_by_one_gives_the_bits_of_all_at_once(reduce, n):
    X, weights, clients = rows(n), np.random.default_rng(1).integers(1, 60, n) * 1.0, tuple(range(3, 3 + 2 * n, 2))
    one, state = collected(bound(reduce=reduce), X, weights, clients, largest=n)
    other, expected = bound(reduce=reduce).reduce(Cohort(X, weights, clients, LAYOUT), {}, server_at())
    assert one.vector.tobytes() == other.vector.tobytes()
    assert one.client_weights == other.client_weights
    assert state == expected


def test_a_cohort_layer_sees_all_rows():
    X, weights = rows(5), np.ones(5)
    one, _ = collected(bound(Pairs()), X, weights, range(5), largest=5)
    other, _ = bound(Pairs()).reduce(Cohort(X, weights, tuple(range(5)), LAYOUT), {}, server_at())
    assert one.vector.tobytes() == other.vector.tobytes()
    assert one.client_weights == other.client_weights


@pytest.mark.parametrize("largest", [0, 1, 3])
def test_more_updates_than_there_was_room_for(largest):
    X = rows(9)
    reduced, _ = collected(bound(reduce=qf.reduces.Median()), X, np.ones(9), range(9), largest)
    np.testing.assert_array_equal(reduced.vector, np.median(X, axis=0))


def test_the_rows_become_the_cohort_without_a_copy():
    class Keep(Average):
        name = "keep"

        def reduce(self, cohort, state, at):
            kept.append(cohort.X)
            return super().reduce(cohort, state, at)

    kept: list[np.ndarray] = []
    collector = bound(reduce=Keep()).collect(8)
    for client in range(5):
        collector.add(client, rows(1)[0], 1.0)
    collector.finish({}, server_at())
    collector.finish({}, server_at())
    assert kept[0].shape == (5, LAYOUT.size)
    assert np.shares_memory(*kept)


@pytest.mark.parametrize("reduce", [qf.reduces.Mean(), qf.reduces.Median()], ids=lambda reduce: reduce.name)
@pytest.mark.parametrize(
    ("client", "vector", "weight", "named"),
    [
        (7, rows(1)[0], 1.0, "client 7 after client 7"),
        (6, rows(1)[0], 1.0, "client 6 after client 7"),
        (8, rows(1)[0][:-1], 1.0, r"shape \(4,\) by client 8"),
        (8, rows(1)[0], 0.0, "weight 0.0 of client 8"),
        (8, rows(1)[0], math.nan, "weight nan"),
        (8, rows(1)[0], math.inf, "weight inf"),
        (8, np.array([0, 1, np.nan, 0, 0], np.float32), 1.0, "client 8 with NaN or infinite"),
        (8, np.array([0, 1, -np.inf, 0, 0], np.float32), 1.0, "client 8 with NaN or infinite"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing_behind(reduce, client, vector, weight, named):
    collector, X = bound(reduce=reduce).collect(3), rows(3)
    collector.add(2, X[0], 1.0)
    collector.add(7, X[1], 2.0)
    with pytest.raises(DataError, match=named):
        collector.add(client, vector, weight)
    assert collector.count == 2
    collector.add(9, X[2], 3.0)
    expected, _ = collected(bound(reduce=reduce), X, np.array([1.0, 2.0, 3.0]), (2, 7, 9), 3)
    assert collector.finish({}, server_at())[0].vector.tobytes() == expected.vector.tobytes()


def test_too_few_updates_are_refused():
    for reduce in (qf.reduces.Mean(), qf.reduces.Median()):
        with pytest.raises(DataError, match="at least one"):
            bound(reduce=reduce).collect(3).finish({}, server_at())
    collector = bound(reduce=qf.reduces.Krum(2)).collect(9)
    collector.add(1, rows(1)[0], 1.0)
    with pytest.raises(StackError, match="at least 7"):
        collector.finish({}, server_at())


def test_the_mean_of_many_clients_needs_memory_for_a_few():
    layout, n = Layout.of({"x": (20_000,)}), 1_000
    x = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    tracemalloc.start()
    collector = bound(layout=layout).collect(n)
    for client in range(n):
        collector.add(client, x, 1.0)
    reduced, _ = collector.finish({}, server_at())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(reduced.vector, x, rtol=1e-6)
    assert peak < 4 * layout.size * (block_rows(layout.size) + 12) + 500 * n < 4 * layout.size * n / 10


def test_what_is_kept_for_a_mean_does_not_grow_with_the_clients():
    collector, x = bound().collect(10_000), np.ones(LAYOUT.size, np.float32)
    sizes = []
    for client in range(10_000):
        collector.add(client, x, 1.0)
        if client in (100, 9_999):
            sizes.append(sum(value.nbytes for value in vars(collector).values() if isinstance(value, np.ndarray)))
    assert sizes[0] == sizes[1] > 0
    np.testing.assert_array_equal(collector.finish({}, server_at())[0].vector, x)


def test_a_block_is_small_for_long_updates():
    assert block_rows(1) == block_rows(2**18) == 64
    assert 4 * 1_000_000 * block_rows(1_000_000) <= 2**26
    assert block_rows(10**9) == 4
