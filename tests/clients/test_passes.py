"""How rows are cut into passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfedfm.clients.passes import Pass, PassRows, packed_passes, padded_passes, passes_over

FEW = settings(max_examples=80, deadline=None, derandomize=True)
Cut = Callable[[Sequence[np.ndarray], int], Iterator[Pass]]
LANES = st.lists(st.lists(st.integers(1, 40), max_size=8).map(lambda some: np.asarray(some, np.int64)), max_size=7)
BUDGETS = st.integers(1, 150)
CUTS = pytest.mark.parametrize("cut", [packed_passes, padded_passes])


def assert_each_once(found: Sequence[Pass], lanes: Sequence[np.ndarray]) -> None:
    seen: Counter[tuple[int, int]] = Counter()
    for now in found:
        assert 0 <= now.first < now.stop <= len(lanes)
        assert len(now.positions) == now.stop - now.first
        assert now.valid.any(), "a pass without rows"
        for lane, positions in zip(range(now.first, now.stop), now.positions, strict=True):
            seen.update((lane, int(position)) for position in positions if position >= 0)
    assert seen == Counter((lane, i) for lane, rows in enumerate(lanes) for i in range(len(rows)))


def tokens_of(now: Pass, lanes: Sequence[np.ndarray]) -> list[int]:
    return [int(lanes[now.first + i][now.positions[i, j]]) for i, j in np.argwhere(now.valid)]


@CUTS
@FEW
@given(lanes=LANES, budget=BUDGETS)
def test_every_row_is_in_one_pass_once(cut: Cut, lanes: list[np.ndarray], budget: int) -> None:
    assert_each_once(list(cut(lanes, budget)), lanes)


@CUTS
@pytest.mark.parametrize(
    "lanes",
    [
        [],
        [[]],
        [[], []],
        [[300]],
        [[10, 10]],
        [[5], [300], [5]],
        [[], [7, 7, 7], []],
        [[1] * 50],
        [[1], [], [1, 2, 3]],
        [[], [], [40, 40]],
    ],
)
@pytest.mark.parametrize("budget", [1, 7, 10, 64, 10**6])
def test_edges(cut: Cut, lanes: list[list[int]], budget: int) -> None:
    arrays = [np.asarray(mine, np.int64) for mine in lanes]
    assert_each_once(list(cut(arrays, budget)), arrays)


@FEW
@given(lanes=LANES, budget=BUDGETS)
def test_padded_passes_stay_within_the_budget_or_have_one_row_a_lane(lanes: list[np.ndarray], budget: int) -> None:
    for now in padded_passes(lanes, budget):
        padded = now.positions.size * max(tokens_of(now, lanes))
        assert padded <= budget or now.positions.shape[1] == 1


@FEW
@given(lanes=LANES, budget=st.integers(40, 150))
def test_padded_passes_hold_as_many_lanes_as_the_budget_has_longest_rows(lanes: list[np.ndarray], budget: int) -> None:
    """With a budget of at least the longest row, one row a lane keeps within it as well."""
    for now in padded_passes(lanes, budget):
        assert now.positions.size * max(tokens_of(now, lanes)) <= budget


@FEW
@given(lanes=LANES, budget=BUDGETS)
def test_packed_passes_stay_within_the_budget_or_have_one_row(lanes: list[np.ndarray], budget: int) -> None:
    for now in packed_passes(lanes, budget):
        assert sum(tokens_of(now, lanes)) <= budget or now.valid.sum() == 1


@FEW
@given(lanes=st.lists(st.lists(st.integers(10, 60), max_size=30), min_size=1, max_size=8), budget=st.integers(200, 900))
def test_packed_passes_are_equal_but_for_half_a_row_and_even_where_they_can_be_shared(
    lanes: list[list[int]], budget: int
) -> None:
    """Against equal shares of an even number of passes, where those leave room for half a row."""
    arrays = [np.asarray(mine, np.int64) for mine in lanes]
    sums, total = [sum(tokens_of(now, arrays)) for now in packed_passes(arrays, budget)], sum(map(sum, lanes))
    count = -(-total // budget)
    count += count % 2 if total >= 512 else 0
    if total and total / count + 30 <= budget:
        share = total / count
        assert max(sums) <= share + 30
        assert all(held >= share - 30 for held in sums[:-1])
        assert len(sums) in (count, count + 1)


@CUTS
@FEW
@given(lanes=LANES, budget=BUDGETS)
def test_the_same_lengths_give_the_same_passes(cut: Cut, lanes: list[np.ndarray], budget: int) -> None:
    for one, other in zip(cut(lanes, budget), cut([mine.copy() for mine in lanes], budget), strict=True):
        assert (one.first, one.stop) == (other.first, other.stop)
        assert np.array_equal(one.positions, other.positions)


ROW_LENGTHS = np.random.default_rng(0).integers(1, 20, 30)
KEPT = np.random.default_rng(1).random(30) < 0.5
ROWS = st.lists(st.lists(st.integers(0, 29), max_size=9).map(lambda some: np.asarray(some, np.int64)), max_size=5)


def over(lanes: Sequence[np.ndarray], cut: Cut, budget: int) -> list[PassRows]:
    return list(passes_over(lanes, ROW_LENGTHS, lambda rows: KEPT[rows], lambda lengths: cut(lengths, budget)))


@CUTS
@FEW
@given(lanes=ROWS, budget=BUDGETS)
def test_rows_of_passes(cut: Cut, lanes: list[np.ndarray], budget: int) -> None:
    """Each wanted row once, also one that is drawn twice; kept rows never beside others; filling from the pass."""
    seen: Counter[tuple[int, int]] = Counter()
    for now in over(lanes, cut, budget):
        assert len(set(KEPT[now.rows.reshape(-1)].tolist())) == 1
        assert set(now.rows[~now.valid].tolist()) <= set(now.rows[now.valid].tolist())
        for i, lane in enumerate(range(now.first, now.stop)):
            for row, position in zip(now.rows[i, now.valid[i]], now.positions[i, now.valid[i]], strict=True):
                assert lanes[lane][position] == row
                seen[lane, int(position)] += 1
    assert seen == Counter((lane, i) for lane, rows in enumerate(lanes) for i in range(len(rows)))


@CUTS
@FEW
@given(lanes=ROWS, budget=BUDGETS, seed=st.integers(0, 99))
def test_passes_do_not_depend_on_the_order_of_a_lanes_rows(
    cut: Cut, lanes: list[np.ndarray], budget: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    mixed = [rng.permutation(rows) for rows in lanes]
    for one, other in zip(over(lanes, cut, budget), over(mixed, cut, budget), strict=True):
        assert (one.first, one.stop) == (other.first, other.stop)
        assert np.array_equal(one.rows, other.rows)
        assert np.array_equal(one.valid, other.valid)


@FEW
@given(lanes=ROWS, budget=BUDGETS)
def test_lanes_of_a_pass_one_by_one(lanes: list[np.ndarray], budget: int) -> None:
    for now in over(lanes, packed_passes, budget):
        alone = list(now.lanes())
        assert [one.first for one in alone] == [now.first + i for i in np.flatnonzero(now.valid.any(1))]
        for one in alone:
            i = one.first - now.first
            assert one.stop == one.first + 1
            assert one.valid.all()
            assert np.array_equal(one.rows[0], now.rows[i, now.valid[i]])
            assert np.array_equal(one.positions[0], now.positions[i, now.valid[i]])
