"""An experiment whose circuits run on simulators of devices, from its table to its report."""

import json

import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.engine.experiment import Experiment
from tests.engine.tiny import SETTINGS

BORN = {"name": "born", "layers": 1, "steps": 2, "gradients": 1}
METHODS = {
    "exact": ("exact", {"name": "pennylane"}),
    "noisy": ("noise", {"name": "aer", "noise": "manila", "shots": 200}),
    "fake": ("noise", {"name": "ibm", "backend": "fake:manila", "shots": 200}),
}


def experiment(methods):
    arms = {name: {"reduce": {**BORN, "executor": executor}} for name, (_, executor) in methods.items()}
    twin = {"reduce": {"name": "amplitudes", "steps": 2}}
    return Experiment.of({**SETTINGS, "rounds": 1, "compare": {**arms, "twin": twin}})


def test_a_run_says_in_which_column_its_circuits_belong(tmp_path):
    experiment(METHODS).run(tmp_path / "out")
    runs = {run["method"]: run for run in json.loads((tmp_path / "out" / "results.json").read_text())["runs"]}
    circuits = 2 * (1 + 2 * 6) + 2
    for name, (column, executor) in METHODS.items():
        assert runs[name]["circuits_by_column"] == {column: circuits}
        assert runs[name]["shots"] == executor.get("shots", 0) * circuits
    assert "device noise model" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_an_option_that_no_executor_has_is_refused_before_anything_runs():
    with pytest.raises(ConfigError, match=r"unknown option 'noises' of executor 'aer'; did you mean 'noise'\?"):
        experiment({"noisy": ("noise", {"name": "aer", "noises": "manila"})})
