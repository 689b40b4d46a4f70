"""The worked example of docs/adding-a-part.md is run: the part, its test, its use by name, and the laws of its kind."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.clients.attack import Attack
from qfedfm.clients.method import LocalMethod
from qfedfm.core import parts, registry
from qfedfm.core.additive import AdditiveCodec
from qfedfm.core.errors import ConfigError
from qfedfm.core.parts import Law, ServerAt
from qfedfm.core.seals import Seal
from qfedfm.core.summed import SummedLayer
from qfedfm.incentives.contribution import Contribution
from qfedfm.incentives.selector import Selector
from qfedfm.quantum.executor import Executor

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-part.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def example(monkeypatch):
    """The page's part as a module, in a register that is put back afterwards."""
    registry.discover()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    module = types.ModuleType("qfedfm.reduces.midrange")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks("python"):
        exec(compile(block, "docs/adding-a-part.md", "exec"), module.__dict__)
    return module


def test_the_test_on_the_page_passes(example):
    example.test_midrange_is_the_middle_of_the_extremes()


def test_the_part_is_known_by_name_and_its_options_are_checked(example):
    (method,) = tomllib.loads(blocks("toml")[0])["compare"].values()
    assert registry.build("reduce", method["reduce"]) == example.Midrange(scale=1.0)
    with pytest.raises(ConfigError, match="did you mean 'scale'"):
        registry.build("reduce", {"name": "midrange", "scales": 1.0})
    with pytest.raises(ConfigError, match="greater than 0"):
        registry.build("reduce", {"name": "midrange", "scale": -1.0})


def test_the_declared_laws_hold(example):
    layout = qf.Layout.of({"w": (6,)})
    X = qf.Key.of(3).fold("updates").numpy().standard_normal((5, 6)).astype(np.float32)
    at = ServerAt(round=1, key=qf.Key.of(3), layout=layout, model=np.zeros(6, np.float32))

    def reduce(rows):
        cohort = qf.Cohort(np.ascontiguousarray(rows), np.ones(len(rows)), tuple(range(len(rows))), layout)
        return example.Midrange().reduce(cohort, {}, at)[0].vector

    assert example.Midrange.laws == {Law.PERMUTATION, Law.IDENTITY, Law.SCALING, Law.TRANSLATION}
    np.testing.assert_array_equal(reduce(X[::-1]), reduce(X))
    np.testing.assert_allclose(reduce(X[:1]), X[0], rtol=1e-6)
    np.testing.assert_allclose(reduce(2 * X), 2 * reduce(X), rtol=1e-6)
    np.testing.assert_allclose(reduce(X + 1), reduce(X) + 1, rtol=1e-5, atol=1e-6)


def test_every_kind_that_the_page_names_exists_with_those_methods():
    elsewhere = (Attack, LocalMethod, Selector, Executor, Contribution, AdditiveCodec, Seal, SummedLayer)
    known = vars(parts) | {cls.__name__: cls for cls in elsewhere}
    rows = re.findall(r"^\| `(\w+)` \| `qfedfm/\w.*?` \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 13
    for kind, methods in rows:
        for method in re.findall(r"`(\w+)", methods):
            assert callable(getattr(known[kind], method)), f"{kind}.{method}"


def test_the_experiment_of_the_readme_is_valid():
    """All its keys and parts are known, and it compares a quantum part with one of its twins."""
    text, fewer_bytes, only_the_sum = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert qf.Experiment.of(tomllib.loads(only_the_sum)).arm("masked").aggregator.summed is not None
    assert qf.Experiment.of(tomllib.loads(fewer_bytes)).arm("ours").down is not None
    experiment = qf.Experiment.of(tomllib.loads(text))
    chosen = [experiment.arm(name).entry for name in experiment.methods]
    twins = {twin for entry in chosen if entry.quantum for twin in entry.twins}
    assert twins & {entry.name for entry in chosen}


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:`|&& |^)qfedfm ([a-z]+)", README, re.MULTILINE))))
def test_a_command_of_the_readme_exists(command):
    script = Path(sys.executable).with_name("qfedfm")
    done = subprocess.run(
        [script, command, "--help"], check=False, capture_output=True, text=True, env={**os.environ, "COLUMNS": "99"}
    )
    assert done.returncode == 0
    assert f"qfedfm {command}" in done.stdout


def script(name):
    spec = importlib.util.spec_from_file_location(f"{name}_page", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_keys_is_of_the_committed_results():
    """Written by `python docs/security.py`."""
    module = script("security")
    text = module.PAGE.read_text(encoding="utf-8")
    assert text == module.page(text)
    assert all(f"results/{low}/report.html" in text for low in module.POLICIES)


def test_the_tables_of_bytes_are_the_committed_results():
    """Written by `python docs/communication.py`."""
    module = script("communication")
    text = module.PAGE.read_text(encoding="utf-8")
    assert text == module.page(text)
    assert all(f"<!-- table {name} -->" in text for name in module.BASELINES)
