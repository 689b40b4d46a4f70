"""An experiment whose circuits run on simulators of devices, from its table to its report."""

import json

import pytest

from qfedfm.core.errors import BudgetError, ConfigError
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


def test_a_mitigated_run_counts_calibrations_and_reports_its_bias(tmp_path):
    inner = {"name": "aer", "noise": "manila", "shots": 50}
    arm = {"reduce": {**BORN, "gradient": "spsa", "executor": {"name": "readout", "inner": inner}}}
    twin = {"reduce": {"name": "amplitudes", "steps": 2}}
    Experiment.of({**SETTINGS, "rounds": 1, "compare": {"born": arm, "twin": twin}}).run(tmp_path / "out")
    runs = {run["method"]: run for run in json.loads((tmp_path / "out" / "results.json").read_text())["runs"]}
    circuits = 2 * (3 + 2) + 2 * (1 + 2)  # two steps by SPSA and two looks at the weights, each with its calibration
    assert runs["born"]["circuits_by_column"] == {"mitigated": circuits}
    assert runs["born"]["shots"] == 50 * circuits
    assert 0 <= runs["born"]["projection_bias"] < 0.2
    assert "projection_bias" not in runs["twin"]
    assert "mitigated" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_run_stops_at_its_budget(tmp_path):
    budget = {"name": "budget", "circuits": 20, "inner": {"name": "shots", "shots": 53}}
    with pytest.raises(BudgetError, match="20 circuits, of which 14 are spent and 13 asked for; raise circuits"):
        experiment({"born": ("shots", budget)}).run(tmp_path / "out")
