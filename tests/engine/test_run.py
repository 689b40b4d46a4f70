"""A whole run: the files it leaves, and going on after an interruption to the same bytes."""

import json

import numpy as np
import pytest

from qfedfm.core.errors import CheckpointError, ConfigError
from qfedfm.engine import tracks
from qfedfm.engine.archive import Archive
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.folder import Folder
from tests.engine.tiny import SETTINGS

COMPARISON = {
    **SETTINGS,
    "seeds": [1, 2],
    "rounds": 2,
    "hostile": {"clients": 1},
    "compare": {
        "mean": {"reduce": "mean"},
        "born": {"reduce": {"name": "born", "steps": 5}},
        "twin": {"reduce": {"name": "amplitudes", "steps": 5}},
    },
}
_TIMES = ("server_seconds", "train_seconds")


def without_times(value):
    if isinstance(value, dict):
        return {name: without_times(item) for name, item in value.items() if name not in (*_TIMES, "environment")}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def contents(folder):
    """Everything that two runs must share: results, history and every checkpoint's state."""
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    results = json.loads((folder / "results.json").read_text())
    digest = results["environment"]["config_hash"]
    found = {"results": without_times(results), "history": without_times(history)}
    for line in results["runs"]:
        found[line["adapter"]] = (folder / line["adapter"] / "vector.npy").read_bytes()
        state = Folder(folder, digest).archive(line["method"], line["seed"]).load()
        found[line["method"], line["seed"]] = (state.model.tobytes(), state.round)
    return found


def test_the_files_of_a_run(tmp_path):
    result = Experiment.of(COMPARISON).run(tmp_path / "out")
    results = result.results
    assert results["schema"] == 1
    assert results["complete"] is True
    assert [(line["seed"], line["method"]) for line in results["runs"]] == [
        (seed, method) for seed in (1, 2) for method in ("mean", "born", "twin")
    ]
    for line in results["runs"]:
        needed = {"method", "seed", "quantum", "twin", "final", "uplink_bytes", "downlink_bytes", "server_seconds",
                  "train_seconds", "shots", "circuits"}  # fmt: skip
        assert needed <= set(line)
        assert {"accuracy", "loss"} <= set(line["final"])
        records = [r for r in result.history if (r["method"], r["seed"]) == (line["method"], line["seed"])]
        assert [record["round"] for record in records] == [0, 1, 2]
        assert line["final"]["accuracy"] == records[-1]["accuracy"]
        assert line["uplink_bytes"] == sum(record["uplink_bytes"] for record in records)
    born = next(line for line in results["runs"] if line["method"] == "born")
    assert (born["quantum"], born["twin"], born["sees_validation"]) == (True, "twin", True)
    assert born["circuits"] > 0
    summary = {line["method"]: line for line in results["summary"]}
    assert summary["born"]["vs_twin"]["twin"] == "twin"
    assert summary["mean"]["vs_twin"] is None
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    assert len(result.frame()) == 6
    first = {r["method"]: r for r in result.history if r["round"] == 0 and r["seed"] == 1}
    assert first["mean"]["accuracy"] == first["born"]["accuracy"]


def test_nothing_is_overwritten(tmp_path):
    experiment = Experiment.of(SETTINGS)
    experiment.run(tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="--resume"):
        experiment.run(tmp_path / "out")
    with pytest.raises(CheckpointError, match="holds a run of configuration"):
        Experiment.of({**SETTINGS, "rounds": 5}).run(tmp_path / "out", resume=True)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not of a run"):
        experiment.run(other)
    (tmp_path / "out" / "run.json").write_text("[]")
    with pytest.raises(CheckpointError, match="cannot be read"):
        experiment.run(tmp_path / "out", resume=True)


def interrupt(monkeypatch, after):
    """Ctrl-C instead of the save after this many; gives the list of what was saved before."""
    saved, save = [], Archive.save

    def interrupted(self, state):
        if len(saved) == after:
            raise KeyboardInterrupt
        saved.append((self.path, state.round))
        save(self, state)

    monkeypatch.setattr(Archive, "save", interrupted)
    return saved


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the comparison comes to without an interruption."""
    out = tmp_path_factory.mktemp("whole")
    Experiment.of(COMPARISON).run(out)
    return contents(out)


@pytest.mark.parametrize("after", [0, 1, 6, 11])
def test_interrupted_and_resumed_is_the_same_to_the_last_bit(tmp_path, monkeypatch, whole, after):
    """Also between the saves of one wave, of which there are six in a round."""
    experiment = Experiment.of(COMPARISON)
    interrupt(monkeypatch, after)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(tmp_path / "parts")
    monkeypatch.undo()
    with (tmp_path / "parts" / "history.jsonl").open("a") as file:
        file.write('{"torn": ')
    experiment.run(tmp_path / "parts", resume=True)
    assert contents(tmp_path / "parts") == whole


def test_an_interrupted_wave_is_repeated_by_all_of_its_runs(tmp_path, monkeypatch, whole):
    """Three times in a row, the second time before anything of the repeated wave is kept."""
    experiment = Experiment.of(COMPARISON)
    played, play_wave = [], tracks.play_wave

    def counted(engine, runs):
        played.append(sorted(state.round for _, state in runs))
        return play_wave(engine, runs)

    for after in (8, 0, 4):
        monkeypatch.setattr(tracks, "play_wave", counted)
        interrupt(monkeypatch, after)
        with pytest.raises(KeyboardInterrupt):
            experiment.run(tmp_path / "parts", resume=True)
        monkeypatch.undo()
    monkeypatch.setattr(tracks, "play_wave", counted)
    parts = experiment.run(tmp_path / "parts", resume=True)
    assert played == [[0] * 6, *[[1] * 6] * 4]
    assert contents(parts.folder) == whole


def test_a_run_whose_checkpoint_was_deleted_catches_up(tmp_path, whole):
    experiment = Experiment.of(COMPARISON)
    experiment.run(tmp_path / "out")
    for path in (tmp_path / "out" / "checkpoints" / "born").iterdir():
        path.unlink()
    experiment.run(tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == whole


def test_tuning_is_published_and_resumed(tmp_path, monkeypatch):
    tune = {"grid": {"training.rate": [1e-4, 0.2]}, "seeds": [50], "rounds": 2}
    experiment = Experiment.of({**SETTINGS, "tune": tune})
    whole = experiment.run(tmp_path / "whole").results["tuning"]
    assert [trial["settings"] for trial in whole["trials"]] == [{"training.rate": 1e-4}, {"training.rate": 0.2}]
    assert whole["chosen"] == {"mean": {"training.rate": 0.2}}
    interrupt(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(tmp_path / "parts")
    monkeypatch.undo()
    assert (tmp_path / "parts" / "tuning").is_dir()
    experiment.run(tmp_path / "parts", resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert not (tmp_path / "parts" / "tuning").exists()


def test_budgets_are_equal():
    tune = {"grid": {"training.rate": [0.1]}, "own": {"mean": {"server.lr": [0.5, 1.0]}}}
    experiment = Experiment.of({**COMPARISON, "tune": tune})
    with pytest.raises(ConfigError, match=r"2 for mean, 1 for born.*same number"):
        experiment.run("never")


def test_round_by_round_in_memory():
    experiment = Experiment.of(COMPARISON)
    played = list(experiment.rounds("born", 2))
    assert [one.number for one in played] == [0, 1, 2]
    assert played[-1].model.dtype == np.float32
    with pytest.raises(ConfigError, match="method 'krum'"):
        next(experiment.rounds("krum"))
