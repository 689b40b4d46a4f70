"""kill -9 at random moments, also in the tuning and while a checkpoint or a result is written:
what is resumed ends in the same bytes."""

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from qfedfm.engine.folder import Folder
from tests.engine.test_run import COMPARISON, contents

KILLS = int(os.environ.get("QFEDFM_KILLS", "10"))
MOVES = (1, 2, 3, 6, 9, 15, 16, 17, 24)
"""Before which move of a file each session is killed: between and inside the saves of one wave."""


def _child(settings, out) -> None:
    import torch

    from qfedfm.engine.experiment import Experiment

    torch.set_num_threads(1)
    Experiment.of(settings).run(out, resume=True)


def _killed(settings, out, moves) -> None:
    """A session that kills itself instead of moving a file to its place for the ``moves``-th time."""
    replace, count = Path.replace, [0]

    def counted(self, target):
        count[0] += 1
        if count[0] == moves:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = counted
    _child(settings, out)


def _context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["qfedfm.engine.run", "tests.engine.tiny", "qfedfm.reduces.born", "qiskit"])
    return context


def _run(context, target, *arguments) -> int:
    process = context.Process(target=target, args=arguments)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.slow
def test_killed_between_the_saves_of_one_wave(tmp_path):
    context = _context()
    settings = {
        **COMPARISON,
        "rounds": 4,
        "compare": {"mean": {}, "median": {"reduce": "median"}, "scaffold": {"local": "scaffold"}},
        "participation": {"clients_per_round": 4, "late": 0.2},
    }
    assert _run(context, _child, settings, tmp_path / "whole") == 0
    killed = [_run(context, _killed, settings, tmp_path / "killed", moves) for moves in MOVES]
    assert killed == [-signal.SIGKILL] * len(MOVES)
    assert _run(context, _child, settings, tmp_path / "killed") == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    for out in (tmp_path / "whole", tmp_path / "killed"):
        digest = json.loads((out / "results.json").read_text())["environment"]["config_hash"]
        for seed in (1, 2):
            archive = Folder(out, digest).archive("scaffold", seed)
            names = {f"{client}-{made}.safetensors" for client, made in archive.load().clients.items()}
            there = {path.name for path in archive.states.folder.iterdir()}
            assert names <= there
            assert len(there - names) <= 4, "of the checkpoint before"


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    context = _context()
    settings = {
        **COMPARISON,
        "rounds": 4,
        "participation": {"late": 0.1},
        "tune": {"grid": {"training.rate": [0.05, 0.1]}, "seeds": [50], "rounds": 2},
    }
    begin = time.monotonic()
    assert _run(context, _child, settings, tmp_path / "whole") == 0
    length = time.monotonic() - begin
    expected = contents(tmp_path / "whole")
    moments, kills, folder = random.Random(3), 0, 0
    while kills < KILLS:
        out = tmp_path / f"killed-{folder}"
        child = context.Process(target=_child, args=(settings, out))
        child.start()
        child.join(moments.uniform(0, 0.6 * length) if kills < KILLS else None)
        if child.exitcode is None:
            child.kill()
            child.join()
            kills += 1
        elif child.exitcode == 0:
            assert contents(out) == expected
            folder += 1
    assert _run(context, _child, settings, out) == 0
    assert contents(out) == expected
