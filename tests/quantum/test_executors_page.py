"""The page about executors: its names, options, examples and columns are the library's."""

import re
import sys
import tomllib
import types
from dataclasses import fields
from pathlib import Path

from qfedfm.core.registry import build, find
from qfedfm.quantum.executor import COLUMNS
from qfedfm.quantum.own import own_circuit

PAGE = (Path(__file__).parents[2] / "docs" / "executors.md").read_text(encoding="utf-8")


def test_the_table_names_parts_with_all_their_options():
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", PAGE, re.MULTILINE)
    assert {"exact", "shots", "pennylane", "aer", "ibm", "braket", "ionq"} <= {name for name, _ in rows}
    for name, options in rows:
        assert set(re.findall(r"`(\w+)`", options)) == {field.name for field in fields(find("executor", name).part)}


def test_the_columns_are_explained():
    section = PAGE[PAGE.index("## Columns") :]
    assert tuple(re.findall(r"^\| (\w+) \| ", section, re.MULTILINE)[1:]) == COLUMNS


def test_the_examples_are_valid():
    for block in re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        for method in tomllib.loads(block)["compare"].values():
            assert build("reduce", method["reduce"]).name == "born"


def test_the_circuits_of_ones_own_are_taken(monkeypatch):
    module = types.ModuleType("my_circuits")
    exec(re.findall(r"^```python\nimport numpy.*?^```$", PAGE, re.MULTILINE | re.DOTALL)[0][10:-3], module.__dict__)
    monkeypatch.setitem(sys.modules, "my_circuits", module)
    assert own_circuit("my_circuits:layered", 2).parameters == 4
    assert own_circuit("my_circuits:entangled", 3).parameters == 6
