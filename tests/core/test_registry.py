import subprocess
import sys
from dataclasses import dataclass, field
from typing import Annotated

import pytest
from pydantic import Field

from qfedfm.core import registry
from qfedfm.core.cohort import Reduced
from qfedfm.core.errors import ConfigError
from qfedfm.core.parts import Reduce
from qfedfm.core.registry import build, describe, entries, find, lookup, part


def first(cohort, state):
    return Reduced(cohort.X[0].copy()), state


@pytest.fixture
def tuned(monkeypatch):
    """A part with options of several types, registered for one test."""
    registry.discover()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))

    @part("tuned", paper="none", twins=("mean",), control_of="median")
    @dataclass(frozen=True)
    class Tuned(Reduce):
        hostile: Annotated[int, Field(ge=0, le=9)]
        rates: tuple[float, float] = (0.1, 0.2)
        label: str = "x"
        nested: dict[str, int] = field(default_factory=dict)

        def reduce(self, cohort, state, at):
            return first(cohort, state)

    return Tuned


def test_a_part_joins_with_what_its_decorator_says(tuned):
    entry = find("reduce", "tuned")
    assert (entry.part, entry.quantum, entry.twins, entry.control_of) == (tuned, False, ("mean",), "median")
    assert tuned.name == "tuned"
    assert entry in entries("reduce")
    assert entry in entries()
    assert [e.name for e in entries("reduce")] == sorted(e.name for e in entries("reduce"))
    assert entries("no such kind") == []


def test_a_part_is_built_from_a_name_or_a_table_and_described_again(tuned):
    made = build("reduce", {"name": "tuned", "hostile": 3, "rates": [1, 2]})
    assert made == tuned(3, (1.0, 2.0))
    assert describe(made) == {"name": "tuned", "hostile": 3, "rates": (1.0, 2.0), "label": "x", "nested": {}}
    assert build("reduce", describe(made)) == made
    assert build("reduce", "mean").name == "mean"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"name": "tunde", "hostile": 1}, "unknown reduce 'tunde'.*did you mean 'tuned'"),
        ("zzzzzz", "unknown reduce 'zzzzzz'.*choose one of .*mean"),
        ({"hostile": 1}, r"without a name.*\['hostile'\]"),
        ({"name": 3}, "without a name"),
        ({}, "without a name"),
        ({"name": "tuned", "hostil": 1}, "unknown option 'hostil' of reduce 'tuned'.*did you mean 'hostile'"),
        ({"name": "mean", "hostile": 1}, "unknown option 'hostile' of reduce 'mean'.*it has none"),
        ({"name": "tuned"}, "hostile"),
        ({"name": "tuned", "hostile": "many"}, "hostile.*'many'.*integer"),
        ({"name": "tuned", "hostile": 1.5}, "hostile.*1.5"),
        ({"name": "tuned", "hostile": -1}, "hostile.*-1.*greater than or equal to 0"),
        ({"name": "tuned", "hostile": 10}, "hostile.*10.*less than or equal to 9"),
        ({"name": "tuned", "hostile": 1, "rates": [1]}, "rates"),
        ({"name": "tuned", "hostile": 1, "rates": [1, "a"]}, r"rates\.1.*'a'"),
        ({"name": "tuned", "hostile": 1, "label": 5}, "label.*5"),
        ({"name": "tuned", "hostile": 1, "nested": {"a": "b"}}, r"nested\.a.*'b'"),
    ],
)
@pytest.mark.usefixtures("tuned")
def test_what_cannot_be_built_says_why_in_one_line(config, says):
    with pytest.raises(ConfigError, match=says) as caught:
        build("reduce", config)
    assert "\n" not in str(caught.value)


def test_building_leaves_the_configuration_alone(tuned):
    config = {"name": "tuned", "hostile": 2}
    build("reduce", config)
    assert config == {"name": "tuned", "hostile": 2}


def test_a_name_can_be_taken_once(tuned):
    @dataclass(frozen=True)
    class Other(Reduce):
        def reduce(self, cohort, state, at):
            return first(cohort, state)

    with pytest.raises(ConfigError, match="two parts of kind reduce called 'tuned'"):
        part("tuned", paper="none")(Other)
    assert find("reduce", "tuned").part is tuned


def test_a_class_of_the_same_name_elsewhere_does_not_replace_a_part(tuned):
    twin = type(tuned.__name__, (tuned,), {"__qualname__": tuned.__qualname__, "__module__": "elsewhere"})
    with pytest.raises(ConfigError, match="two parts"):
        part("tuned", paper="none")(twin)


def test_the_same_class_may_join_again_as_when_a_cell_of_a_notebook_is_run_twice(tuned):
    again = type(tuned.__name__, (tuned,), {"__qualname__": tuned.__qualname__, "__module__": tuned.__module__})
    part("tuned", paper="newer")(again)
    assert find("reduce", "tuned").paper == "newer"


def test_classes_are_found_by_name_in_their_folder():
    assert lookup("qfedfm.reduces", "Mean") is find("reduce", "mean").part
    with pytest.raises(AttributeError, match="did you mean 'Mean'"):
        lookup("qfedfm.reduces", "Maen")
    with pytest.raises(AttributeError, match=r"qfedfm\.layers has no 'Mean'"):
        lookup("qfedfm.layers", "Mean")


def test_reading_the_register_imports_every_folder_and_no_heavy_library():
    program = (
        "import sys\nfrom qfedfm.core.registry import FOLDERS, entries\n"
        "folders = {e.part.__module__.rpartition('.')[0] for e in entries()}\n"
        "heavy = {'torch', 'qiskit', 'pennylane', 'transformers'} & set(sys.modules)\n"
        "print(sorted(set(FOLDERS) - folders), sorted(heavy))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.strip() == "[] []"
