"""One cell of the study at toy size, on the real model and data: tuned, resumed, and with every field."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from qfedfm.engine.experiment import Experiment
from tests.engine.test_run import without_times
from tests.smoke.agreed import check, check_sums

CELL = Path(__file__).parents[2] / "experiments" / "sources" / "sign-flip.toml"
METHODS = ("mean", "born", "amplitudes")


def toy() -> Experiment:
    """The committed experiment with fewer methods, seeds, rounds, steps and rows."""
    file = tomllib.loads(CELL.read_text(encoding="utf-8"))
    changes = {
        "compare": {name: file["compare"][name] for name in METHODS},
        "tune.own": {name: file["tune"]["own"][name] for name in METHODS},
        "tune.rounds": 1, "seeds": [1, 2], "rounds": 2,
        "task.train_rows": 8, "task.test_rows": 8, "task.validation": 20, "task.tuning": 20, "task.max_tokens": 24,
        "task.adapter.layers": 1, "training.steps": 2, "training.batch_size": 2,
        "engine.precision": "float32", "engine.device": "cpu",
    }  # fmt: skip
    return Experiment.load(CELL, changes)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The cell played in one go, and what kill -9 would have left after eight of its twelve rounds, resumed.

    The six runs play their rounds together, so that two of them are a round ahead of the others then.
    """
    experiment, out = toy(), tmp_path_factory.mktemp("cell")
    task, seen = experiment.build_task(), []

    def watch(event) -> None:
        seen.extend([event] if event.stage == "round" else [])
        if len(seen) == 8 and not (out / "parts").exists():
            shutil.copytree(out / "whole", out / "parts")

    experiment.run(out / "whole", task=task, watch=watch)
    kept = out / "parts" / "checkpoints"
    assert [len(list(kept.rglob(f"*.safetensors{end}"))) for end in ("", ".before")] == [6, 2]
    experiment.run(out / "parts", resume=True, task=task)
    return out / "whole", out / "parts"


@pytest.mark.slow
def test_the_cell_has_the_agreed_schema(folders):
    results, history = check(folders[0])
    assert results["complete"]
    check_sums(results, history)
    assert {run["method"]: (run["quantum"], run["twin"]) for run in results["runs"]} == {
        "mean": (False, None),
        "born": (True, "amplitudes"),
        "amplitudes": (False, None),
    }
    assert {run["method"] for run in results["runs"] if run["sees_validation"]} == {"born", "amplitudes"}
    for run in results["runs"]:
        assert len(run["hostile"]) == 3
        assert (run["circuits"] > 0) == run["quantum"]
        assert (folders[0] / run["adapter"] / "adapter_model.safetensors").is_file()
    assert sum(client["hostile"] for client in results["clients"].values()) == 3
    assert (folders[0] / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_every_method_is_tuned_with_the_same_budget(folders):
    tuning = json.loads((folders[0] / "results.json").read_text())["tuning"]
    grid = tomllib.loads(CELL.read_text())["tune"]
    for method in METHODS:
        trials = [trial for trial in tuning["trials"] if trial["method"] == method]
        assert len(trials) == 4
        best = max(trials, key=lambda trial: trial["score"])
        assert tuning["chosen"][method] == best["settings"]
        for name, candidates in {**grid["grid"], **grid["own"][method]}.items():
            assert {trial["settings"][name] for trial in trials} == set(candidates)
    assert not set(tuning["seeds"]) & {1, 2}


@pytest.mark.slow
def test_resumed_it_ends_the_same(folders):
    whole, parts = folders
    for name in ("results.json", "history.jsonl"):
        texts = [(folder / name).read_text().splitlines() for folder in folders]
        lines = [[json.loads("".join(text))] if name == "results.json" else [*map(json.loads, text)] for text in texts]
        assert without_times(lines[0]) == without_times(lines[1])
    adapters = sorted(path.relative_to(whole) for path in (whole / "adapters").rglob("*") if path.is_file())
    assert adapters == sorted(path.relative_to(parts) for path in (parts / "adapters").rglob("*") if path.is_file())
    assert all((whole / path).read_bytes() == (parts / path).read_bytes() for path in adapters)
    assert sum(path.suffix == ".safetensors" for path in adapters) == 6
