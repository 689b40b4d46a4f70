"""The worked example of docs/adding-a-part.md is run: the part, its test, its use by name, and the laws of its kind."""

import re
import sys
import tomllib
import types
from pathlib import Path

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core import registry
from qfedfm.core.errors import ConfigError
from qfedfm.core.parts import Law, ServerAt

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-part.md").read_text(encoding="utf-8")


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


def test_every_kind_that_the_page_names_exists():
    kinds = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    known = {base.__name__ for entry in registry.entries() for base in entry.part.__mro__}
    assert kinds <= known
    assert "Reduce" in kinds
