"""Clients' own states: on disk, read when a client is invited, gone when nothing refers to them."""

import json
from pathlib import Path

import numpy as np
import pytest

from qfedfm.core.errors import CheckpointError
from qfedfm.engine.clientstates import InMemory, OnDisk
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.state import RunState, superseded
from tests.engine.test_run import contents, interrupt
from tests.engine.tiny import SETTINGS

IDENTITY = {"configuration": "abc", "method": "scaffold", "seed": 1}
SCAFFOLD = {
    **SETTINGS,
    "rounds": 6,
    "task": {**SETTINGS["task"], "options": {"clients": 30}},
    "compare": {
        "scaffold": {"local": "scaffold"},
        "kept": {"training": {"keep_state": True, "optimizer": {"name": "adamw"}}},
    },
    "participation": {"clients_per_round": 3},
}


def state(number):
    return {"method/control": np.full(4, number, np.float32), "optimizer/step": np.array(number)}


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_states_come_back_and_go(tmp_path, kind):
    states = InMemory() if kind == "memory" else OnDisk(tmp_path / "deep", IDENTITY)
    for version in ((3, 1), (3, 2), (44, 1), (0, 2)):
        states.write(version, state(10 * version[0] + version[1]))
    states.write((3, 2), state(7))
    found = states.read((3, 2))
    assert {name: (value.shape, value.tolist()) for name, value in found.items()} == {
        "method/control": ((4,), [7.0] * 4),
        "optimizer/step": ((), 7),
    }
    states.remove([(3, 1), (5, 5)])
    states.keep_only({(3, 2), (44, 1)})
    assert int(states.read((44, 1))["optimizer/step"]) == 441
    for gone in ((3, 1), (0, 2)):
        with pytest.raises((CheckpointError, KeyError)):
            states.read(gone)


def test_a_state_of_somebody_else_or_damaged_is_refused(tmp_path):
    states = OnDisk(tmp_path, IDENTITY)
    states.write((3, 1), state(1))
    (path,) = tmp_path.iterdir()
    assert path.name == "3-1.safetensors"
    with pytest.raises(CheckpointError, match="is of seed 1; expected 2"):
        OnDisk(tmp_path, {**IDENTITY, "seed": 2}).read((3, 1))
    (tmp_path / "4-1.safetensors").write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match="is of client 3; expected 4"):
        states.read((4, 1))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"cannot be read .* restore it"):
        states.read((3, 1))
    path.unlink()
    with pytest.raises(CheckpointError, match=r"No such file.*; restore it"):
        states.read((3, 1))


def test_what_an_interruption_leaves_is_cleared_and_nothing_else(tmp_path):
    states = OnDisk(tmp_path, IDENTITY)
    states.write((3, 1), state(1))
    states.write((3, 2), state(2))
    (tmp_path / ".3-3.safetensors.partial").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    states.keep_only({(3, 1)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3-1.safetensors", "notes.txt"]
    OnDisk(tmp_path / "none", IDENTITY).keep_only(set())


def test_what_a_round_replaces():
    before = RunState(2, np.zeros(1, np.float32), clients={1: 1, 4: 2, 9: 1})
    record = {"participants": [1, 4, 6]}
    after = RunState(3, before.model, clients={1: 3, 4: 3, 6: 3, 9: 1}, history=(record,))
    assert superseded(before, after) == [(1, 1), (4, 2)]
    refused = RunState(3, before.model, clients=before.clients, history=(record,))
    assert superseded(before, refused) == []


def test_only_the_invited_are_read_and_only_two_rounds_are_kept(tmp_path, monkeypatch):
    read, original, seen = [], OnDisk.read, []

    def counted(self, version):
        read.append(version)
        return original(self, version)

    def watch(event):
        if event.stage == "round" and event.method == "scaffold":
            folder = tmp_path / "clients" / "scaffold" / "seed-1"
            seen.append((set(event.record["participants"]), {path.name for path in folder.iterdir()}))

    monkeypatch.setattr(OnDisk, "read", counted)
    Experiment.of(SCAFFOLD).run(tmp_path, watch=watch)
    invited = [client for participants, _ in seen for client in participants]
    assert {client for client, _ in read} <= set(invited)
    assert len(read) <= 4 * len(invited)
    known, before = {}, {}
    for number, (participants, there) in enumerate(seen, start=1):
        before, known = known, {**known, **dict.fromkeys(participants, number)}
        assert there == {f"{client}-{made}.safetensors" for client, made in {*known.items(), *before.items()}}


def test_states_survive_an_interruption(tmp_path, monkeypatch):
    experiment = Experiment.of(SCAFFOLD)
    experiment.run(tmp_path / "whole")
    for after in (3, 1, 4):
        interrupt(monkeypatch, after)
        with pytest.raises(KeyboardInterrupt):
            experiment.run(tmp_path / "parts", resume=True)
        monkeypatch.undo()
    experiment.run(tmp_path / "parts", resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    files = [
        {path.relative_to(out): path.read_bytes() for path in (out / "clients").rglob("*.safetensors")}
        for out in (tmp_path / "whole", tmp_path / "parts")
    ]
    assert {path: files[1].get(path) for path in files[0]} == files[0]


def test_a_checkpoint_of_an_older_version_is_refused(tmp_path, monkeypatch):
    experiment = Experiment.of({**SETTINGS, "rounds": 1})
    monkeypatch.setattr("qfedfm.engine.state._FORMAT", 1)
    experiment.run(tmp_path)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="checkpoint of format 1; expected format 2"):
        experiment.run(tmp_path, resume=True)
    assert json.loads(Path(tmp_path, "results.json").read_text())["complete"]
