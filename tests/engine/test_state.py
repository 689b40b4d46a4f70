"""A checkpoint gives back what was saved, or says why not."""

import numpy as np
import pytest

from qfedfm.core.errors import CheckpointError
from qfedfm.engine.files import finite, write_bytes, write_folder
from qfedfm.engine.state import RunState, load, save

IDENTITY = {"configuration": "abc", "method": "mean", "seed": 1}


def example() -> RunState:
    rng = np.random.default_rng(0)
    return RunState(
        2,
        rng.normal(size=7).astype(np.float32),
        {"theta": rng.normal(size=3), "population": np.arange(3)},
        {"momentum": rng.normal(size=7).astype(np.float32), "step": np.array(3)},
        {"control": rng.normal(size=7).astype(np.float32)},
        {4: 2, 11: 1},
        {2: b"\x00payload"},
        ({"round": 0, "accuracy": 0.1 + 0.2}, {"round": 1, "accuracy": 1 / 3}),
        topology={"shallow": rng.normal(size=3).astype(np.float32), "optimizer/m": rng.normal(size=4)},
    )


def same(a: RunState, b: RunState) -> bool:
    def flat(state):
        named = ("reduce", "server", "local", "topology")
        groups = {"model": {"": state.model}, **{name: getattr(state, name) for name in named}}
        arrays = {(group, name): np.asarray(value) for group, s in groups.items() for name, value in s.items()}
        return {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}

    rest = [(state.round, state.clients, state.late, state.history) for state in (a, b)]
    return flat(a) == flat(b) and rest[0] == rest[1]


def test_the_state_comes_back_to_the_last_bit(tmp_path):
    path = tmp_path / "deep" / "state.safetensors"
    save(path, example(), IDENTITY)
    assert same(load(path, IDENTITY), example())
    first = path.read_bytes()
    save(path, example(), IDENTITY)
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", IDENTITY)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, name):
    path = tmp_path / "state.safetensors"
    save(path, example(), IDENTITY)
    with pytest.raises(CheckpointError, match=name):
        load(path, {**IDENTITY, name: "other"})


def test_every_truncation_and_every_altered_byte_is_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    save(path, example(), IDENTITY)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            load(path, IDENTITY)
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x11
        path.write_bytes(bytes(changed))
        try:
            loaded = load(path, IDENTITY)
        except CheckpointError:
            continue
        assert same(loaded, example()), position  # padding of the header


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(CheckpointError, match=r"cannot be written \(full\)"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"


def test_folders_replace_and_json_has_no_nan(tmp_path):
    for text in ("one", "two"):
        write_folder(tmp_path / "a", lambda beside, text=text: (beside / "f").write_text(text) and None)
        assert (tmp_path / "a" / "f").read_text() == text
    assert finite({"a": [float("nan"), (1.0, float("inf"))]}) == {"a": [None, [1.0, None]]}
