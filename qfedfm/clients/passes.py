"""How the rows of many clients are cut into passes over the model.

A pass is a rectangle: some neighbouring lanes (a lane is one client, or one model to evaluate), each with the same
number of rows. So the parameters of a pass are a slice of the matrix of all lanes, and their gradients add to one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

Lengths = Int64[np.ndarray, "_"]
_FEWEST_TOKENS = 256
"""Of a pass that is worth a thread of its own."""


@dataclass(frozen=True)
class Pass:
    """Lanes ``first`` up to ``stop``, and for each the positions of its rows in its own list.

    Args:
        first: the first lane.
        stop: one past the last.
        positions: of each row among its lane's; −1 where the lane has no more rows.
    """

    first: int
    stop: int
    positions: Int64[np.ndarray, "m b"]

    @property
    def valid(self) -> Bool[np.ndarray, "m b"]:
        """Where there is a row."""
        return np.asarray(self.positions >= 0)


def padded_passes(lengths: Sequence[Lengths], tokens: int) -> Iterator[Pass]:
    """Passes for a model that pads its rows: rows of like length together.

    Every lane's rows are sorted, the longest first; a pass takes the next few of every lane, so that its rows are about
    equally long, and has at most ``tokens`` tokens with its padding, or one row a lane.

    Args:
        lengths: of each lane's rows.
        tokens: the budget.
    """
    longest = max((int(mine.max()) for mine in lengths if len(mine)), default=0)
    if not longest:
        return
    blocks = -(-len(lengths) // max(1, tokens // longest))
    lanes = -(-len(lengths) // blocks)
    for first in range(0, len(lengths), lanes):
        yield from _ranks(first, lengths[first : first + lanes], tokens)


def _ranks(first: int, lengths: Sequence[Lengths], tokens: int) -> Iterator[Pass]:
    """A block of lanes, cut along its ranks: rank 0 is the longest row of each lane."""
    orders = [np.argsort(-mine, kind="stable") for mine in lengths]
    begin, most = 0, max(len(mine) for mine in lengths)
    while begin < most:
        left = [lane for lane, mine in enumerate(lengths) if len(mine) > begin]
        block = range(left[0], left[-1] + 1)
        longest = max(int(lengths[lane][orders[lane][begin]]) for lane in left)
        count = max(1, min(most - begin, tokens // (len(block) * longest)))
        positions = np.full((len(block), count), -1)
        for i, lane in enumerate(block):
            mine = orders[lane][begin : begin + count]
            positions[i, : len(mine)] = mine
        yield Pass(first + block.start, first + block.stop, positions)
        begin += count


def packed_passes(lengths: Sequence[Lengths], tokens: int) -> Iterator[Pass]:
    """Passes for an encoder that packs its rows: lane after lane, about as many tokens in each pass.

    Their number is even, so that two can run side by side, unless there are too few tokens to share.

    Args:
        lengths: of each lane's rows.
        tokens: the budget; a single row may have more.
    """
    total = sum(int(mine.sum()) for mine in lengths)
    count = -(-total // tokens)
    count += count % 2 if total >= 2 * _FEWEST_TOKENS else 0
    places: list[tuple[int, int]] = []
    held = 0
    for lane, mine in enumerate(lengths):
        for position, length in enumerate(mine.tolist()):
            # closed where that leaves it nearer to an equal share than one more row would
            if places and (held + length / 2 > total / count or held + length > tokens):
                yield _pass(places)
                places, held = [], 0
            places.append((lane, position))
            held += length
    if places:
        yield _pass(places)


def _pass(places: Sequence[tuple[int, int]]) -> Pass:
    """The pass over some rows, given by lane and position, in ascending order."""
    lane, position = np.array(places).T
    first, stop = int(lane[0]), int(lane[-1]) + 1
    rank = np.arange(len(lane)) - np.searchsorted(lane, lane)
    positions = np.full((stop - first, int(rank.max()) + 1), -1)
    positions[lane - first, rank] = position
    return Pass(first, stop, positions)


@dataclass(frozen=True)
class PassRows:
    """A pass with its rows.

    Args:
        first: the first lane.
        stop: one past the last.
        rows: row numbers; where ``valid`` is false any row of the pass, to fill the rectangle.
        valid: which of them are wanted.
        positions: where each wanted row stands in its lane's list.
    """

    first: int
    stop: int
    rows: Int64[np.ndarray, "m b"]
    valid: Bool[np.ndarray, "m b"]
    positions: Int64[np.ndarray, "m b"]

    def lanes(self) -> Iterator[PassRows]:
        """Each lane that has rows as a pass of its own."""
        for i, lane in enumerate(range(self.first, self.stop)):
            mine = self.valid[i]
            if mine.any():
                yield PassRows(
                    lane, lane + 1, *(part[None, i, mine] for part in (self.rows, self.valid, self.positions))
                )


def passes_over(
    lanes: Sequence[np.ndarray],
    lengths: Lengths,
    covers: Callable[[np.ndarray], np.ndarray],
    cut: Callable[[Sequence[np.ndarray]], Iterator[Pass]],
) -> Iterator[PassRows]:
    """The rows of some lanes in passes, which do not depend on the order of a lane's rows.

    Args:
        lanes: row numbers of each lane.
        lengths: of every row of the task.
        covers: which rows' hidden states are kept; those do not share a pass with others.
        cut: makes passes of lengths.
    """
    orders = [np.argsort(rows, kind="stable") for rows in lanes]
    covered = [covers(rows[order]) for rows, order in zip(lanes, orders, strict=True)]
    for kept in (True, False):
        picks = [order[mine == kept] for order, mine in zip(orders, covered, strict=True)]
        for now in cut([lengths[rows[pick]] for rows, pick in zip(lanes, picks, strict=True)]):
            valid, positions, rows = now.valid, now.positions.copy(), np.zeros(now.positions.shape, np.int64)
            for i, lane in enumerate(range(now.first, now.stop)):
                positions[i, valid[i]] = picks[lane][now.positions[i, valid[i]]]
                rows[i, valid[i]] = lanes[lane][positions[i, valid[i]]]
            real = rows[valid]
            rows[~valid] = real[np.argmin(lengths[real])]
            yield PassRows(now.first, now.stop, rows, valid, positions)
