"""The pool and its division: no row twice, sizes as asked, labels in proportion, the same key the same split."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfedfm.core.errors import DataError
from qfedfm.core.key import Key
from qfedfm.tasks.partition import BySource, Dirichlet, Iid, Quantity
from qfedfm.tasks.split import Limits, divide, draw, pool, quotas

KEY = Key.of(11)
RNG = KEY.fold("data").numpy()
N = 2000
SOURCES = np.repeat(np.arange(4), [900, 700, 350, 50])
LABELS = (RNG.random(N) < np.array([0.1, 0.5, 0.7, 0.9])[SOURCES]).astype(np.int64)
NAMES = ("a", "b", "c", "d")


def whole(partition, limits, key=KEY, labels=LABELS, sources=SOURCES):
    rows = pool(labels, sources, partition, limits, Key.of(0))
    return rows, divide(labels[rows], sources[rows], NAMES, partition, limits, key)


def sides(split):
    return [*split.train.values(), *split.test.values(), split.validation, split.tuning]


@given(
    st.sampled_from([BySource(minimum=2), Iid(clients=5), Dirichlet(alpha=1, clients=4), Quantity(alpha=5, clients=3)]),
    st.integers(20, 300),
    st.integers(5, 60),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_the_pool_is_divided_without_a_row_twice_or_left(partition, train, test, validation, tuning, seed):
    limits = Limits(train, test, validation, tuning)
    rows, split = whole(partition, limits, Key.of(seed))
    assert sorted(itertools.chain.from_iterable(side.tolist() for side in sides(split))) == list(range(len(rows)))
    assert (len(split.validation), len(split.tuning)) == (validation, tuning)
    assert all(len(split.train[client]) and len(split.test[client]) for client in split.clients)
    assert all((np.diff(side) > 0).all() and side.dtype == np.int64 for side in sides(split))


def test_a_source_with_enough_rows_gives_exactly_the_limits_and_a_small_one_their_proportion():
    _, split = whole(BySource(), Limits(200, 50, 40, 20))
    assert [len(split.train[client]) for client in range(3)] == [200, 200, 200]
    assert [len(split.test[client]) for client in range(3)] == [50, 50, 50]
    small = len(split.train[3]), len(split.test[3])
    assert sum(small) < 50
    assert small[1] / sum(small) == pytest.approx(0.2, abs=0.02)
    assert split.names == dict(enumerate(NAMES))


def test_clients_of_a_source_hold_rows_of_that_source_only():
    rows, split = whole(BySource(), Limits(200, 50, 40, 20))
    for client in split.clients:
        assert (SOURCES[rows[split.train[client]]] == client).all()
        assert (SOURCES[rows[split.test[client]]] == client).all()


def test_labels_are_in_proportion_on_every_side():
    rows, split = whole(BySource(), Limits(200, 50, 100, 100))
    for client in range(3):
        share = LABELS[np.flatnonzero(client == SOURCES)].mean()
        assert LABELS[rows[split.train[client]]].mean() == pytest.approx(share, abs=0.015)
        assert LABELS[rows[split.test[client]]].mean() == pytest.approx(share, abs=0.03)
    assert LABELS[rows[split.validation]].mean() == pytest.approx(LABELS[rows[split.tuning]].mean(), abs=0.03)


def test_synthetic_clients_hold_the_limits_on_average():
    _, split = whole(Iid(clients=6), Limits(90, 30, 50, 10))
    assert [len(split.train[client]) for client in split.clients] == [90] * 6
    assert [len(split.test[client]) for client in split.clients] == [30] * 6
    assert split.names[2] == "client 2"


def test_the_pool_does_not_depend_on_the_run_and_the_split_does():
    limits = Limits(50, 20, 10, 10)
    first, again, other = (whole(BySource(minimum=2), limits, Key.of(seed)) for seed in (1, 1, 2))
    assert (first[0] == other[0]).all()
    assert all((a == b).all() for a, b in zip(sides(first[1]), sides(again[1]), strict=True))
    assert any((a.shape != b.shape) or (a != b).any() for a, b in zip(sides(first[1]), sides(other[1]), strict=True))


def test_an_empty_client_is_named():
    sources = np.where(SOURCES == 2, 1, SOURCES)
    with pytest.raises(DataError, match=r"client 'c' with 0 rows, .*; expected at least 10"):
        whole(BySource(), Limits(50, 20, 10, 10), sources=sources)


def test_a_server_that_takes_everything_is_refused():
    with pytest.raises(DataError, match="2000 validation and tuning rows of 2000 rows"):
        pool(LABELS, SOURCES, BySource(), Limits(10, 10, 1500, 500), KEY)


def test_a_server_that_takes_all_of_a_source_is_said():
    with pytest.raises(DataError, match=r"client 'd' with 0 rows, .*lower validation, tuning"):
        whole(BySource(), Limits(40, 20, 150, 150))


def test_too_few_rows_for_the_clients_are_refused():
    with pytest.raises(DataError, match=r"rows for 150 clients"):
        whole(Iid(clients=150, minimum=20), Limits(50, 20, 10, 10))


@given(st.integers(0, 200), st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any))
def test_quotas_add_up_and_are_within_one_of_the_proportion(total, sizes):
    found = quotas(total, np.array(sizes, np.int64))
    assert found.sum() == total
    assert (np.abs(found - total * np.array(sizes) / sum(sizes)) < 1).all()


def test_draw_takes_the_count_in_proportion():
    labels = np.array([0] * 60 + [1] * 30 + [2] * 10)
    taken, rest = draw(np.arange(100), labels, 20, KEY.numpy())
    assert np.bincount(labels[taken]).tolist() == [12, 6, 2]
    assert sorted([*taken.tolist(), *rest.tolist()]) == list(range(100))
