"""LDPC codes for reconciliation: quasi-cyclic, irregular, grown edge by edge, with rows that can be split in two."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.extra import qkd

KERNELS = "qfedfm.qkd._ldpc"
"""Imported with numba where it is used."""
COLUMNS = 256
"""Of the table of every code: a frame has 256·Z bits."""
ROWS = range(8, 161)
"""Of the table before rows are split: disclosed are rows/256 bits for each of a frame."""

_EDGES: Mapping[float, Mapping[int, float]] = {
    0.15: {2: 0.04528, 3: 0.20537, 4: 0.05878, 5: 0.04275, 6: 0.08454, 7: 0.01176, 9: 0.05137, 21: 0.50015},
    0.20: {2: 0.09420, 3: 0.18088, 6: 0.11972, 7: 0.08550, 8: 0.09816, 17: 0.07194, 26: 0.34960},
    0.25: {2: 0.10805, 3: 0.09511, 4: 0.01449, 5: 0.13764, 6: 0.10667, 7: 0.05288, 28: 0.01107, 31: 0.47408},
    0.35: {
        2: 0.10451, 3: 0.15652, 4: 0.08057, 5: 0.00056, 9: 0.12151, 13: 0.10485, 15: 0.10719, 21: 0.00771, 51: 0.31656,
    },
    0.45: {2: 0.16880, 3: 0.20994, 6: 0.18095, 15: 0.03846, 16: 0.02635, 18: 0.23454, 19: 0.05815, 31: 0.08280},
}  # fmt: skip
"""By checks for each bit: the share λ_i of edges at bits with i checks. The paper's first row sums to 1.0515; with λ_5
lower by as much it has the rate that the paper gives it."""


@dataclass(frozen=True, eq=False)
class Code:
    """A parity-check matrix H of rows·Z checks on 256·Z bits, made of circulants.

    The edges of a row of the table come in two halves. *Splitting* the row puts two rows in its place, one for each
    half, whose sum it is: whoever knows the syndrome of the row learns that of both from the first half's.

    Args:
        lifting: size Z of a circulant.
        table: entry (r, c) is the shift s of the circulant whose row i has its one in column (i + s) mod Z, −1 for
            none.

    Example:
        >>> code = Code(3, np.array([[0, 1, -1, 2], [-1, 0, 2, 2]], np.int32))
        >>> code.syndromes(np.array([1, 0, 0] * 4, np.uint8)).tolist()
        [[1, 1, 1], [1, 0, 0]]
    """

    lifting: int
    table: Int32[np.ndarray, "rows columns"] = field(repr=False)

    @property
    def rows(self) -> int:
        """Of the table, none of them split."""
        return len(self.table)

    @property
    def bits(self) -> int:
        """Of a frame."""
        return int(self.table.shape[1]) * self.lifting

    @cached_property
    def edges(self) -> tuple[Int64[np.ndarray, " edges"], Int64[np.ndarray, " edges"], Int64[np.ndarray, " halves"]]:
        """Columns and shifts, row after row and half after half, and where the halves begin, with the end."""
        columns, sizes = [], []
        for row in self.table:
            present = np.flatnonzero(row >= 0)
            for half in (present[::2], present[1::2]):
                columns.append(half)
                sizes.append(len(half))
        rows = np.repeat(np.arange(len(sizes)) // 2, sizes)
        column = np.concatenate(columns)
        return column, self.table[rows, column].astype(np.int64), np.concatenate(([0], np.cumsum(sizes)))

    def starts(self, splits: int) -> Int64[np.ndarray, " layers"]:
        """Where the layers' edges begin, with the end, when the first rows are split."""
        halves = self.edges[2]
        return np.concatenate((halves[: 2 * splits], halves[2 * splits :: 2]))

    def halves(self, bits: UInt8[np.ndarray, " n"]) -> UInt8[np.ndarray, "halves z"]:
        """Syndrome with all rows split."""
        columns, shifts, starts = self.edges
        found: np.ndarray = qkd(KERNELS).syndrome(bits, starts, columns, shifts, self.lifting)
        return found

    def syndromes(self, bits: UInt8[np.ndarray, " n"]) -> UInt8[np.ndarray, "rows z"]:
        """H·bits mod 2, with no row split."""
        halves = self.halves(bits)
        found: np.ndarray = halves[::2] ^ halves[1::2]
        return found

    def dense(self, splits: int = 0) -> UInt8[np.ndarray, "checks n"]:
        """H itself, for small codes."""
        columns, shifts, _ = self.edges
        starts = self.starts(splits)
        H = np.zeros((len(starts) - 1, self.lifting, self.bits), np.uint8)
        i = np.arange(self.lifting)
        for layer, (first, last) in enumerate(itertools.pairwise(starts.tolist())):
            for column, shift in zip(columns[first:last], shifts[first:last], strict=True):
                H[layer, i, column * self.lifting + (i + shift) % self.lifting] = 1
        return H.reshape(-1, self.bits)


def column_degrees(rows: int) -> Int64[np.ndarray, " columns"]:
    """How many entries the table's columns have, ascending.

    The shares of bits are those of the nearest two distributions of the source, mixed in proportion.
    Source: Elkouss, Leverrier, Alléaume, Boutros, ISIT 2009, arXiv 0901.2140, Table I.

    Args:
        rows: of the table.
    """
    known = sorted(_EDGES)
    share = min(max(rows / COLUMNS, known[0]), known[-1])
    upper = next(place for place, value in enumerate(known) if value >= share)
    lower = max(upper - 1, 0)
    width = known[upper] - known[lower]
    weight = (share - known[lower]) / width if width else 1.0
    wanted = np.zeros(max(map(max, _EDGES.values())) + 1)
    for place, part in ((lower, 1 - weight), (upper, weight)):
        bits = {degree: edges / degree for degree, edges in _EDGES[known[place]].items()}
        for degree, count in bits.items():
            wanted[degree] += part * count / sum(bits.values())
    ends = np.rint(np.cumsum(wanted) / wanted.sum() * COLUMNS).astype(np.int64)
    return np.minimum(np.repeat(np.arange(len(wanted)), np.diff(ends, prepend=0)), 2 * rows // 3)


@lru_cache(maxsize=32)
def grown(rows: int, lifting: int) -> Code:
    """The code that both parties mean by these numbers, grown by integer arithmetic only.

    Edges are placed by progressive edge growth on the lifted graph (Hu, Eleftheriou, Arnold, IEEE Trans. Inf. Theory
    51, 386 (2005); Li and Kumar, Asilomar 2004).

    Args:
        rows: of the table.
        lifting: size Z of a circulant.

    Raises:
        ConfigError: rows or lifting out of range.
        MissingExtraError: numba is not installed.
    """
    if rows not in ROWS or lifting < 1:
        raise ConfigError(f"a code of {rows} rows lifted {lifting} times", f"{ROWS[0]} to {ROWS[-1]} rows, lifting ≥ 1")
    return Code(lifting, qkd(KERNELS).grow(column_degrees(rows), rows, lifting))
