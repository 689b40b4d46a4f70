"""Rows packed end to end into bins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfedfm.clients.bins import LENGTH, Bins, pack

FEW = settings(max_examples=60, deadline=None, derandomize=True)
LENGTHS = st.lists(st.integers(1, 150), min_size=1, max_size=40).map(lambda some: np.asarray(some, np.int64))


def assert_packed(bins: Bins, lengths: np.ndarray) -> None:
    """Every token of every row has one slot of its own, in the row's order, inside one bin; the rest is empty."""
    slots = bins.count * bins.length
    assert bins.token.shape == bins.row.shape == (slots,)
    assert bins.slot.shape == (lengths.sum(),)
    assert bins.first.shape == lengths.shape
    token, taken = 0, set()
    for row, (first, length) in enumerate(zip(bins.first.tolist(), lengths.tolist(), strict=True)):
        assert first // bins.length == (first + length - 1) // bins.length
        for slot in range(first, first + length):
            assert bins.slot[token] == slot
            assert bins.token[slot] == token
            assert bins.row[slot] == row
            taken.add(slot)
            token += 1
    assert len(taken) == token
    empty = sorted(set(range(slots)) - taken)
    assert (bins.row[empty] == -1).all()
    assert (bins.token[empty] == 0).all()


@FEW
@given(LENGTHS)
def test_tokens_of_a_row_lie_together_in_order_and_alone(lengths: np.ndarray) -> None:
    assert_packed(pack(lengths), lengths)


@FEW
@given(LENGTHS)
def test_no_bin_is_empty_and_no_two_would_fit_into_one(lengths: np.ndarray) -> None:
    bins = pack(lengths)
    used = np.bincount(bins.slot // bins.length, minlength=bins.count)
    assert used.min() > 0
    fullest = np.sort(used)
    assert bins.count == 1 or fullest[0] + fullest[1] > bins.length


@FEW
@given(LENGTHS)
def test_bins_are_short(lengths: np.ndarray) -> None:
    bins = pack(lengths)
    assert max(LENGTH, lengths.max()) <= bins.length <= 2 * max(LENGTH, lengths.max() + 7)


@FEW
@given(LENGTHS, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_neither_count_nor_length(lengths: np.ndarray, draw: object) -> None:
    mixed = lengths.copy()
    draw.shuffle(mixed)
    bins, other, again = pack(lengths), pack(mixed), pack(lengths)
    assert (bins.count, bins.length) == (other.count, other.length)
    assert all(np.array_equal(getattr(bins, name), getattr(again, name)) for name in ("token", "row", "slot", "first"))


@FEW
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_slots_attend_to_their_own_row_only_and_empty_ones_to_themselves(lengths: list[int]) -> None:
    bins = pack(np.asarray(lengths))
    apart = bins.apart().numpy()
    assert apart.shape == (bins.count, bins.length, bins.length)
    row = bins.row.reshape(bins.count, bins.length)
    for b in range(bins.count):
        for i in range(0, bins.length, 7):
            for j in range(bins.length):
                together = i == j or (row[b, i] >= 0 and row[b, i] == row[b, j])
                assert apart[b, i, j] == (not together)


@pytest.mark.parametrize(
    ("lengths", "count", "length"),
    [
        ([1], 1, 64),
        ([64], 1, 64),
        ([65], 1, 72),
        ([512], 1, 512),
        ([1] * 64, 1, 64),
        ([64] * 3, 3, 64),
        ([40, 24, 40, 24], 2, 64),
        ([513, 1], 1, 520),
    ],
)
def test_cases_by_hand(lengths: list[int], count: int, length: int) -> None:
    bins = pack(np.asarray(lengths))
    assert (bins.count, bins.length) == (count, length)


def test_longer_bins_where_they_waste_less() -> None:
    """Rows of 33: one in a bin of 64 leaves 31 slots empty, three in a bin of 128 leave 29."""
    bins = pack(np.full(30, 33))
    assert bins.count * bins.length < 30 * 64
