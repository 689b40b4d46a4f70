"""Files: the three formats give the same records, and what is wrong with one is said with its line."""

import json

import numpy as np
import pandas as pd
import pytest

from qfedfm.core.errors import DataError, MissingExtraError
from qfedfm.tasks.records import encode_labels
from qfedfm.tasks.sources import read_records

ROWS = [
    {"text": 'fine, "really"\nfine', "label": "pos", "who": "b"},
    {"text": "größe", "label": "neg", "who": "a"},
    {"text": "  ", "label": "neg", "who": "a"},
    {"text": "so so", "label": "pos", "who": "a"},
]


def write(folder, suffix, rows=ROWS):
    path = folder / f"data{suffix}"
    frame = pd.DataFrame(rows)
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix in (".csv", ".tsv"):
        frame.to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def read(path, client="who"):
    return read_records(path, "text", "label", client)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])
def test_all_formats_give_the_same_records(tmp_path, suffix):
    records = read(write(tmp_path, suffix))
    assert records.texts == ('fine, "really"\nfine', "größe", "so so")
    assert records.classes == ("neg", "pos")
    assert records.labels.tolist() == [1, 0, 1]
    assert records.source_names == ("a", "b")
    assert records.sources.tolist() == [1, 0, 0]


def test_without_a_client_column_there_are_no_sources(tmp_path):
    assert read(write(tmp_path, ".csv"), None).sources is None


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_missing_column_names_the_nearest(tmp_path, suffix):
    with pytest.raises(DataError, match=r"no column 'labels'.*did you mean 'label'\?"):
        read_records(write(tmp_path, suffix), "text", "labels")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    (tmp_path / "bom.csv").write_text("text,label\na,0\nb,1\n", encoding="utf-8-sig")
    assert read_records(tmp_path / "bom.csv", "text", "label").texts == ("a", "b")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text,label\na,0\nb,1,2\n", r"a.csv line 3 with 3 fields; expected 2"),
        ("a.csv", b"text,label\na,0\nb\n", r"a.csv line 3 with 1 fields; expected 2"),
        ("a.csv", b'text,label\na,0\n"b,1\n', r"a.csv line 3: unexpected end of data"),
        ("a.csv", b"text,label\na,0\n\xffb,1\n", r"a.csv line 3 is not UTF-8"),
        ("a.csv", b"", r"a.csv is empty"),
        ("a.csv", b"text,text\na,b\n", r"names a column twice"),
        ("a.csv", b"text,label\na,0\nb,\n", r"no label in a.csv \(line 3\)"),
        ("a.csv", b"text,label\n,0\n", r"no row with a text"),
        ("a.csv", b"text,label\na,0\n\n\nb,\n", r"no label in a.csv \(line 5\)"),
        ("a.csv", b"text,label\na,0\nb,0\n", r"1 class in column 'label' of a.csv; expected at least two"),
        ("a.jsonl", b'{"text": "a", "label": 0}\n{"text": "b"', r"a.jsonl line 2: "),
        ("a.jsonl", b'{"text": "a", "label": 0}\n[1]\n', r"a.jsonl line 2 is a list; expected a JSON object"),
        ("a.jsonl", b'{"text": "a", "label": 0}\n\n{"text": 3, "label": 1}\n', r"text = 3 in a.jsonl \(line 3\)"),
        ("a.jsonl", b'{"text": "a", "label": 0}\n{"text": "b"}\n', r"no column 'label' in a.jsonl \(line 2\)"),
        ("a.jsonl", b'{"text": "a", "label": [1]}\n', r"label = \[1\] in a.jsonl \(line 1\)"),
        ("a.jsonl", b'{"text": "a", "label": 0.5}\n{"text": "b", "label": 1}\n', r"label 0.5 in column 'label'"),
        ("a.jsonl", b'{"text": "a", "label": null}\n', r"no label in a.jsonl \(line 1\)"),
        ("a.parquet", b"PAR1 no", r"a.parquet: .*expected a Parquet file"),
        ("a.xlsx", b"", r"expected a name that ends in .csv"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_records(tmp_path / name, "text", "label")


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"no data file .*none.csv"):
        read_records(tmp_path / "none.csv", "text", "label")


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    path = write(tmp_path, ".parquet")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install pyarrow"):
        read(path)


@pytest.mark.parametrize(
    ("values", "classes", "labels"),
    [
        (["10", "9", "10"], ("9", "10"), [1, 0, 1]),
        ([True, False], ("False", "True"), [1, 0]),
        ([1.0, 0.0, -1.0], ("-1", "0", "1"), [2, 1, 0]),
        ([np.int64(3), np.int64(1)], ("1", "3"), [1, 0]),
        (["b ", "a", "b"], ("a", "b"), [1, 0, 1]),
    ],
)
def test_labels_become_indices(values, classes, labels):
    found, names = encode_labels(values, "labels")
    assert (names, found.tolist()) == (classes, labels)


def test_a_column_of_nearly_unique_values_is_no_label():
    with pytest.raises(DataError, match="100 different values in labels of 100 rows; expected a few classes"):
        encode_labels([f"text {number}" for number in range(100)], "labels")
