"""The page about wrappers: its names, options and examples are the library's."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

from qfedfm.core.registry import build, entries, find
from qfedfm.quantum.executor import COLUMNS
from qfedfm.quantum.wrapper import Wrapper

PAGE = (Path(__file__).parents[2] / "docs" / "mitigation.md").read_text(encoding="utf-8")


def test_the_table_names_all_wrappers_with_all_their_options():
    table = PAGE[: PAGE.index("## Order")]
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|[^|]*\|[^|]*\| ([^|]*) \|$", table, re.MULTILINE)
    assert {name for name, _, _ in rows} == {e.name for e in entries("executor") if issubclass(e.part, Wrapper)}
    for name, options, column in rows:
        known = {field.name for field in fields(find("executor", name).part)} - {"inner"}
        assert set(re.findall(r"`(\w+)`", options)) == known
        assert column in (*COLUMNS, "that of the executor inside")


def test_the_examples_are_valid():
    (block,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    methods = tomllib.loads(block)["compare"]
    assert build("reduce", methods["corrected"]["reduce"]).executor.name == "readout"
    built = build("reduce", methods["extrapolated"]["reduce"])
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names = {}
    exec(code, names)
    assert built.executor == names["executor"]
