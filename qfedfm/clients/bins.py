"""Rows of tokens packed end to end into bins of one length, so that attention needs almost no padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int64

LENGTH = 64
"""Tokens of the shortest bins: in a shorter one too few rows fit together."""


@dataclass(frozen=True)
class Bins:
    """Where the tokens of some rows lie in bins. A slot is a place in a bin, numbered through all bins.

    Args:
        count: how many bins there are.
        length: slots of a bin.
        token: for each slot the token that lies there, in the order of the packed rows; 0 where there is none.
        row: for each slot the row that its token belongs to, −1 where there is none.
        slot: for each token its slot.
        first: for each row the slot of its first token.
    """

    count: int
    length: int
    token: Int64[np.ndarray, " slots"]
    row: Int64[np.ndarray, " slots"]
    slot: Int64[np.ndarray, " tokens"]
    first: Int64[np.ndarray, " rows"]

    def apart(self) -> Bool[torch.Tensor, "count length length"]:
        """True where two slots of a bin hold tokens of different rows; an empty slot is together with itself only."""
        own = np.where(self.row >= 0, self.row, -1 - np.arange(len(self.row)))
        rows = torch.from_numpy(own).view(self.count, self.length)
        return rows.unsqueeze(2) != rows.unsqueeze(1)


def pack(lengths: Int64[np.ndarray, " rows"]) -> Bins:
    """The rows in bins of the length that wastes the least.

    Args:
        lengths: tokens of each row, positive.

    Example:
        >>> bins = pack(np.array([40, 30, 24, 34]))
        >>> bins.count, bins.length, bins.first.tolist()
        (2, 64, [0, 98, 40, 64])
    """
    shortest = max(LENGTH, -(-int(lengths.max()) // 8) * 8)
    sizes = [int(shortest * factor) for factor in (1, 1.25, 1.5, 2)]
    found = {size: _first_fit(lengths, size) for size in sizes}
    # Attention is about an eighth of the work of a slot in a bin of 64, and grows with the bin.
    size = min(sizes, key=lambda size: found[size][1] * size * (7 * LENGTH + size))
    first, count = found[size]
    begins = np.cumsum(lengths) - lengths
    slot = np.repeat(first - begins, lengths) + np.arange(int(lengths.sum()))
    token, owner = np.zeros(count * size, np.int64), np.full(count * size, -1)
    token[slot] = np.arange(len(slot))
    owner[slot] = np.repeat(np.arange(len(lengths)), lengths)
    return Bins(count, size, token, owner, slot, first)


def _first_fit(lengths: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """First-fit decreasing: each row, the longest first, into the first bin with room. First slots, and the bins."""
    first = np.zeros(len(lengths), np.int64)
    room: list[int] = []
    for row in np.argsort(-lengths, kind="stable").tolist():
        need = int(lengths[row])
        where = next((i for i, free in enumerate(room) if free >= need), len(room))
        if where == len(room):
            room.append(size)
        first[row] = where * size + size - room[where]
        room[where] -= need
    return first, len(room)
