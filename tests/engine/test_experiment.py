"""Configurations are valid when constructed, and every mistake is one line that helps."""

import json
import tomllib
from pathlib import Path

import pytest

from qfedfm.core.errors import ConfigError, StackError
from qfedfm.engine.experiment import Experiment
from tests.engine.tiny import SETTINGS

ROOT = Path(__file__).parents[2]


def test_the_defaults_are_filled_in_and_read_back():
    experiment = Experiment.of(SETTINGS)
    assert Experiment.of(experiment.settings) == experiment
    assert Experiment.of(experiment.settings).digest == experiment.digest


def test_any_change_changes_the_digest():
    digest = Experiment.of(SETTINGS).digest
    for change in ({"rounds": 4}, {"seeds": [2]}, {"method": {"reduce": "median"}}, {"training": {"rate": 0.2}}):
        assert Experiment.of({**SETTINGS, **change}).digest != digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"round": 3}, ["'round'", "did you mean 'rounds'"]),
        ({"training": {"optimiser": {"name": "sgd"}}}, ["training.optimiser", "did you mean 'optimizer'"]),
        ({"training": {"optimizer": {"nam": "sgd"}}}, ["training.optimizer.nam", "'name'"]),
        ({"training": {"rate": -1}}, ["training.rate = -1", "greater than 0"]),
        ({"training": {"rate": "fast"}}, ["training.rate = 'fast'", "number"]),
        ({"training": {"steps": 1, "epochs": 1}}, ["both steps and epochs"]),
        ({"rounds": 0}, ["rounds = 0", "greater than or equal to 1"]),
        ({"seeds": []}, ["seeds"]),
        ({"seeds": [1, 1]}, ["seeds", "different"]),
        ({"name": "../up"}, ["name = '../up'"]),
        ({"method": {"reduce": "meen"}}, ["unknown reduce 'meen'", "did you mean 'mean'"]),
        ({"method": {"reduce": {"name": "krum", "hostil": 1}}}, ["hostil", "did you mean 'hostile'"]),
        ({"method": {"reduce": {"name": "krum", "hostile": -1}}}, ["hostile", "-1"]),
        ({"method": {"reduce": {"hostile": 1}}}, ["without a name"]),
        ({"method": {"layers": ["bfloat17"]}}, ["unknown layer 'bfloat17'", "bfloat16"]),
        ({"method": {"server": "adan"}}, ["did you mean 'adam'"]),
        ({"method": {"local": "fedpro"}}, ["did you mean 'fedprox'"]),
        ({"method": {"training": {"rat": 1}}}, ["rat", "did you mean 'rate'"]),
        ({"compare": {"a/b": {}}}, ["a/b"]),
        ({"compare": {"a": {"reduc": "mean"}}}, ["compare.a.reduc", "did you mean 'reduce'"]),
        ({"task": {"base_modell": "minilm"}}, ["base_modell", "did you mean 'base_model'"]),
        ({"task": {"kind": "speech"}}, ["task"]),
        ({"hostile": {"clients": -1}}, ["hostile.clients"]),
        ({"tune": {"seeds": [1]}}, ["tune.seeds apart from seeds"]),
        ({"tune": {"own": {"krum": {}}}}, ["tune.own", "krum"]),
        ({"participation": {"dropout": 1.5}}, ["participation.dropout = 1.5"]),
    ],
)
def test_a_mistake_is_one_line(change, words):
    with pytest.raises(ConfigError) as caught:
        Experiment.of({**SETTINGS, **change})
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line


def test_layers_out_of_order_are_refused():
    with pytest.raises(StackError, match="reorder"):
        Experiment.of({**SETTINGS, "method": {"layers": ["bfloat16", {"name": "clip", "clipping_norm": 1.0}]}})


def test_files_and_changes(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('rounds = 2\n[compare.a]\nreduce = "mean"\n')
    experiment = Experiment.load(path, {"training.optimizer.name": "sgd", "compare.a.reduce.name": "median"})
    assert (experiment.name, experiment.total_rounds) == ("mine", 2)
    assert experiment.training.optimizer.name == "sgd"
    assert experiment.arm("a").aggregator.reduce.name == "median"
    with pytest.raises(ConfigError, match="goes through 'rounds'"):
        Experiment.load(path, {"rounds.x": 1})
    path.write_text("rounds = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        Experiment.load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Experiment.load(tmp_path / "none.toml")


def test_a_tuning_grid_reaches_every_part():
    experiment = Experiment.of(SETTINGS)
    arm = experiment.arm("mean", {"training.rate": 0.5, "server.lr": 0.25, "training.optimizer.momentum": 0.9})
    assert (arm.training.rate, arm.server.lr, arm.training.optimizer.momentum) == (0.5, 0.25, 0.9)
    with pytest.raises(ConfigError, match=r"tuning key 'rate'"):
        experiment.arm("mean", {"rate": 1})


def test_a_factory_that_is_none():
    for factory in ("nothing", "tests.engine.tiny:missing", "no.such.module:make"):
        broken = Experiment.of({**SETTINGS, "task": {"kind": "python", "factory": factory}})
        with pytest.raises(ConfigError, match=r"task\.factory"):
            broken.build_task()
    with pytest.raises(ConfigError, match="returned a dict"):
        Experiment.of({**SETTINGS, "task": {"kind": "python", "factory": "builtins:dict"}}).build_task()


def test_the_schema_for_editors_is_current():
    written = json.loads((ROOT / "experiments" / "schema.json").read_text())
    assert written == Experiment.model_json_schema(by_alias=True)


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").rglob("*.toml")), ids=lambda path: path.stem)
def test_every_experiment_file_is_valid(path):
    assert Experiment.load(path).methods
    assert tomllib.loads(path.read_text())
