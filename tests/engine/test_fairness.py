"""What the methods of a comparison share, and which rows each part of a run may look at."""

from dataclasses import replace

import numpy as np
import pytest

from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core.key import Key
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.waves import begin, next_round
from tests.engine.test_rounds import bench
from tests.engine.tiny import SETTINGS

METHODS = {
    "mean": {"reduce": "mean"},
    "median": {"reduce": "median", "layers": ["bfloat16"]},
    "born": {"reduce": {"name": "born", "steps": 3, "shots": 32}},
    "twin": {"reduce": {"name": "amplitudes", "steps": 3}, "server": "adam"},
    "prox": {"reduce": "mean", "local": "fedprox", "training": {"rate": 0.3}},
}
UNRELIABLE = {"clients_per_round": 5, "dropout": 0.2, "late": 0.1}


def played(made, seed, name, monkeypatch):
    """The jobs and the records of three rounds."""
    jobs, train = [], SequentialEngine.train

    def recorded(self, given):
        jobs.append(given)
        return train(self, given)

    monkeypatch.setattr(SequentialEngine, "train", recorded)
    setting = made.setting(made.experiment.arm(name), seed, 3)
    (state,) = begin(made.engine, [setting])
    for _ in range(3):
        state = next_round(setting, state)
    monkeypatch.undo()
    return setting, jobs, state.history


def drawn(setting, jobs, history):
    """All that a seed draws, as one comparable value."""
    return {
        "split": [(client, setting.split.train[client].tolist()) for client in setting.split.clients],
        "server": (setting.split.validation.tolist(), setting.split.tuning.tolist()),
        "hostile": sorted(setting.hostile),
        "start": jobs[0][0].start.tobytes(),
        "order": [[(job.client, [rows.tolist() for rows in job.rows]) for job in round_] for round_ in jobs],
        "attendance": [[record[name] for name in ("hostile", "dropped", "late")] for record in history],
        "untrained": [history[0][name] for name in ("accuracy", "loss")],
    }


def test_the_methods_of_a_seed_differ_in_nothing_but_the_method(monkeypatch):
    made = bench(compare=METHODS, participation=UNRELIABLE, hostile={"clients": 2})
    found = {name: drawn(*played(made, 3, name, monkeypatch)) for name in METHODS}
    assert all(found[name] == found["mean"] for name in METHODS)
    other = drawn(*played(made, 4, "mean", monkeypatch))
    assert all(found["mean"][name] != other[name] for name in ("split", "server", "start", "order"))


def test_a_method_is_the_same_whatever_it_is_compared_with(tmp_path):
    alone = Experiment.of({**SETTINGS, "compare": {"born": METHODS["born"]}}).run(tmp_path / "alone")
    among = Experiment.of({**SETTINGS, "compare": METHODS}).run(tmp_path / "among")
    (run,) = alone.results["runs"]
    (same,) = (run for run in among.results["runs"] if run["method"] == "born")
    assert run["final"] == same["final"]
    assert (run["shots"], run["circuits"]) == (same["shots"], same["circuits"])


@pytest.mark.parametrize("name", METHODS)
def test_trials_see_tuning_rows_and_reduces_see_validation_rows_only(monkeypatch, name):
    made = bench(compare=METHODS)
    setting = replace(made.setting(made.experiment.arm(name), 7, 2), test=False)
    looked, judged = [], []
    outputs, gradient = SequentialEngine.outputs, SequentialEngine.gradient

    def looking(self, queries):
        judged.extend(query.rows for query in queries)
        return outputs(self, queries)

    def descending(self, vector, rows):
        looked.append(rows)
        return gradient(self, vector, rows)

    monkeypatch.setattr(SequentialEngine, "outputs", looking)
    monkeypatch.setattr(SequentialEngine, "gradient", descending)
    (state,) = begin(made.engine, [setting])
    for _ in range(2):
        state = next_round(setting, state)
    split = made.task.split(Key.of(7).fold("split"))
    assert [rows.tolist() for rows in judged if rows is not setting.split.validation] == [split.tuning.tolist()]
    assert all(np.array_equal(rows, split.validation) for rows in looked)
    assert bool(looked) == setting.bound.stack.reduce.needs_objective
    assert "accuracy" not in state.history[-1]
    groups = [split.validation, split.tuning, *split.train.values(), *split.test.values()]
    assert len(np.unique(np.concatenate(groups))) == sum(map(len, groups))
