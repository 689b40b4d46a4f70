"""Texts with labels and, where there are natural clients, the source of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from qfedfm.core.errors import DataError
from qfedfm.tasks.near_copies import distinct


@dataclass(frozen=True)
class Records:
    """n labelled texts.

    Args:
        texts: as they were found.
        labels: indices into ``classes``.
        classes: the labels' names, in the order of the model's outputs.
        sources: for each row an index into ``source_names``; None where the data have no natural clients.
        source_names: what the natural clients are called.
    """

    texts: tuple[str, ...]
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]
    sources: Int64[np.ndarray, " n"] | None = None
    source_names: tuple[str, ...] = ()

    def take(self, rows: Int64[np.ndarray, " m"]) -> Records:
        """These rows, in this order."""
        sources = None if self.sources is None else self.sources[rows]
        return replace(self, texts=tuple(self.texts[row] for row in rows), labels=self.labels[rows], sources=sources)

    def without_near_copies(self) -> Records:
        """The rows that `distinct` keeps."""
        return self.take(distinct(self.texts, self.labels))


def encode_labels(values: Sequence[object], where: str) -> tuple[Int64[np.ndarray, " n"], tuple[str, ...]]:
    """Labels as indices 0 … classes − 1 in the order of their values (numbers by size, else names by alphabet).

    Args:
        values: one label a row: strings, booleans or integers (integers as floats or as text too).
        where: what to call the column in a message.

    Raises:
        DataError: labels of another type, fewer than two classes, or nearly as many classes as rows.

    Example:
        >>> encode_labels(["pos", "neg", "pos"], "labels")
        (array([1, 0, 1]), ('neg', 'pos'))
    """
    names = [_label(value, where) for value in values]
    known = sorted(set(names), key=_order)
    if len(known) < 2:
        raise DataError(f"{len(known)} class in {where}", "at least two")
    if len(known) > max(20, len(names) // 2):
        given = f"{len(known)} different values in {where} of {len(names)} rows"
        raise DataError(given, "a few classes", "name the label_column")
    index = {name: number for number, name in enumerate(known)}
    return np.array([index[name] for name in names], np.int64), tuple(known)


def _label(value: object, where: str) -> str:
    if isinstance(value, (bool, str, int, np.integer, np.bool_)):
        return str(value).strip()
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    raise DataError(f"label {value!r} in {where}", "a string, an integer or a boolean")


def _order(name: str) -> tuple[int, int, str]:
    number = name.lstrip("-").isdecimal()
    return (0, int(name), name) if number else (1, 0, name)
