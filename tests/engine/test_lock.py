"""One process at a time in a folder, and a warning where a run goes on with other software."""

import json
import os
import subprocess
import sys

import pytest

from qfedfm.core.errors import CheckpointError
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.lock import locked
from tests.engine.tiny import SETTINGS


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder until it is told to end, or killed."""
    code = "import sys; from pathlib import Path; from qfedfm.engine.lock import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def test_a_folder_in_use_is_refused_and_free_after_a_kill(tmp_path, other):
    with pytest.raises(CheckpointError, match=r"in use by another run; .*--out"):
        Experiment.of(SETTINGS).run(tmp_path)
    assert list(tmp_path.iterdir()) == []
    other.kill()
    other.wait()
    Experiment.of(SETTINGS).run(tmp_path)
    with locked(tmp_path):
        pass


def test_nothing_is_left_open(tmp_path):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        with locked(tmp_path):
            pass
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_two_that_begin_at_once_do_not_share_a_folder(tmp_path, monkeypatch):
    """The second finds, when it makes the folder, that there is a run in it by now."""
    out, experiment = tmp_path / "out", Experiment.of(SETTINGS)
    prepare = Experiment.build_task

    def overtaken(self):
        if not out.exists():
            monkeypatch.undo()
            experiment.run(out)
        return prepare(self)

    monkeypatch.setattr(Experiment, "build_task", overtaken)
    with pytest.raises(CheckpointError, match=r"in use|holds a run already"):
        experiment.run(out)
    assert json.loads((out / "results.json").read_text())["complete"]


def test_other_software_is_named_in_one_line(tmp_path):
    experiment, seen = Experiment.of(SETTINGS), []
    experiment.run(tmp_path, watch=seen.append)
    experiment.run(tmp_path, resume=True, watch=seen.append)
    assert not [event for event in seen if event.stage == "warning"]
    note = json.loads((tmp_path / "run.json").read_text())
    made = note["made"]
    note["made"] = {"commit": "a" * 40, "packages": {**made["packages"], "numpy": "1.0", "torch": "2.0"}}
    (tmp_path / "run.json").write_text(json.dumps(note))
    for _ in range(2):  # it is the software of the first session that is kept
        experiment.run(tmp_path, resume=True, watch=seen.append)
    first, second = (event.note for event in seen if event.stage == "warning")
    assert first == second
    assert "\n" not in first
    assert f"numpy 1.0 then, {made['packages']['numpy']} now" in first
    assert "commit aaaaaaa then" in first
    assert "scipy" not in first
