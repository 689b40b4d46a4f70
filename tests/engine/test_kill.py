"""kill -9 at random moments, also in the tuning and while a checkpoint or a result is written:
what is resumed ends in the same bytes."""

import multiprocessing
import random
import time

import pytest

from tests.engine.test_run import COMPARISON, contents

KILLS = 20


def _child(settings, out) -> None:
    import torch

    from qfedfm.engine.experiment import Experiment

    torch.set_num_threads(1)
    Experiment.of(settings).run(out, resume=True)


@pytest.mark.slow
def test_killed_at_twenty_random_moments(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["qfedfm.engine.run", "tests.engine.tiny", "qfedfm.reduces.born", "qiskit"])
    settings = {
        **COMPARISON,
        "rounds": 4,
        "participation": {"late": 0.1},
        "tune": {"grid": {"training.rate": [0.05, 0.1]}, "seeds": [50], "rounds": 2},
    }
    begin = time.monotonic()
    whole = context.Process(target=_child, args=(settings, tmp_path / "whole"))
    whole.start()
    whole.join()
    assert whole.exitcode == 0
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
    last = context.Process(target=_child, args=(settings, out))
    last.start()
    last.join()
    assert last.exitcode == 0
    assert contents(out) == expected
