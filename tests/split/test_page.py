"""docs/h-fl.md: its example runs, and its table is of the cases that docs/hfl.py measures."""

import importlib.util
import re
from pathlib import Path

import numpy as np

from qfedfm.split import HFL, begin
from qfedfm.split.federation import Federation

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "h-fl.md").read_text(encoding="utf-8")


def script():
    spec = importlib.util.spec_from_file_location("hfl_page", DOCS / "hfl.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_runs(capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert "rounds=15" in code
    exec(compile(code.replace("rounds=15", "rounds=1, steps=1"), "docs/h-fl.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1"]


def test_the_table_is_of_the_cases_of_the_script():
    module = script()
    rows = dict(re.findall(r"^\| ([^|]+) \| (0\.\d{3} ± 0\.\d{3}) \|", PAGE, re.MULTILINE))
    assert list(rows) == list(module.CASES)
    for changes in module.CASES.values():
        HFL(**changes)


def test_the_cosine_is_one_where_nothing_is_discarded():
    module = script()
    config = HFL(ratio=1.0, correction="exact")
    state = begin(Federation.of(config, module.TASK, 1))
    np.testing.assert_allclose(module.cosine(config, 1, state), 1, atol=1e-5)
