"""Reads labelled texts from a CSV, TSV, JSON Lines or Parquet file."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qfedfm.core.errors import DataError, MissingExtraError, nearest
from qfedfm.tasks.records import Records, encode_labels


@dataclass(frozen=True)
class _Row:
    """One row of a file and what to call its place in a message."""

    place: str
    values: dict[str, Any]


def read_records(path: Path, text: str, label: str, client: str | None = None) -> Records:
    """The labelled texts of a file; rows with an empty text are left out.

    Args:
        path: ends in .csv, .tsv, .jsonl, .ndjson or .parquet; UTF-8.
        text: the column that holds the texts.
        label: the column that holds the labels: strings, integers or booleans.
        client: the column that names the client of each row; None where there is none.

    Raises:
        DataError: the file is missing, of another kind or malformed (the line is named), a column is missing (the
            nearest is named), or a value has a type that cannot be used.
        MissingExtraError: a Parquet file and no pyarrow.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(f"data file {str(path)!r}", f"a name that ends in {', '.join(_READERS)}")
    if not path.is_file():
        raise DataError(f"no data file {str(path)!r}", "an existing file", "check the path")
    columns = [text, label] + ([] if client is None else [client])
    texts, labels, clients = [], [], []
    for row in read(path):
        for column in columns:
            if column not in row.values:
                remedy = nearest(column, row.values) if row.values else ""
                raise DataError(f"no column {column!r} in {path.name} ({row.place})", "a column of the file", remedy)
        words = _text(row, text, path)
        if words.strip():
            texts.append(words)
            labels.append(_value(row, label, path))
            clients.append("" if client is None else str(_value(row, client, path)))
    if not texts:
        raise DataError(f"no row with a text in {path.name}", "at least one")
    encoded, classes = encode_labels(labels, f"column {label!r} of {path.name}")
    if client is None:
        return Records(tuple(texts), encoded, classes)
    names = tuple(sorted(set(clients)))
    index = {name: number for number, name in enumerate(names)}
    return Records(tuple(texts), encoded, classes, np.array([index[name] for name in clients], np.int64), names)


def _text(row: _Row, column: str, path: Path) -> str:
    value = row.values[column]
    if value is None or value != value:  # noqa: PLR0124 NaN is Parquet's missing text
        return ""
    if not isinstance(value, str):
        raise DataError(f"{column} = {value!r} in {path.name} ({row.place})", "a text", "name the text_column")
    return value


def _value(row: _Row, column: str, path: Path) -> Any:
    value = row.values[column]
    if value is None or value != value or (isinstance(value, str) and not value.strip()):  # noqa: PLR0124
        raise DataError(f"no {column} in {path.name} ({row.place})", "a value in every row with a text")
    if isinstance(value, (list, dict, np.ndarray)):
        raise DataError(f"{column} = {value!r} in {path.name} ({row.place})", "one value, not several")
    return value


def _lines(path: Path) -> list[str]:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path.name} line {line} is not UTF-8", "a UTF-8 file", "convert the file") from None


def _csv(path: Path, delimiter: str = ",") -> Iterator[_Row]:
    reader = csv.reader(_lines(path), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            raise DataError(f"{path.name} is empty", "a header and rows")
        if len(set(header)) < len(header):
            raise DataError(f"{path.name} names a column twice: {header}", "different names")
        for cells in reader:
            if cells and len(cells) != len(header):
                given = f"{path.name} line {reader.line_num} with {len(cells)} fields"
                raise DataError(given, f"{len(header)}, as the header has", "quote texts that hold the delimiter")
            if cells:
                yield _Row(f"line {reader.line_num}", dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path.name} line {reader.line_num}: {error}", "a well-formed file") from None


def _tsv(path: Path) -> Iterator[_Row]:
    return _csv(path, "\t")


def _jsonl(path: Path) -> Iterator[_Row]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path.name} line {number}: {error}", "one JSON object a line") from None
        if not isinstance(values, dict):
            raise DataError(f"{path.name} line {number} is a {type(values).__name__}", "a JSON object")
        yield _Row(f"line {number}", values)


def _parquet(path: Path) -> Iterator[_Row]:
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("a Parquet file without pyarrow", "", "install it with: pip install pyarrow")
    import pandas

    try:
        frame = pandas.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name}: {str(error).splitlines()[0]}", "a Parquet file") from None
    names = [str(name) for name in frame.columns]
    for number, values in enumerate(frame.itertuples(index=False, name=None), start=1):
        yield _Row(f"row {number}", dict(zip(names, values, strict=True)))


_READERS: dict[str, Callable[[Path], Iterator[_Row]]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}
ENDINGS = tuple(_READERS)
"""How the name of a data file may end."""
