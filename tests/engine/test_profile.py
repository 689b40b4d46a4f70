"""The sentences of a profile against a clock that the test turns by hand."""

import json

import pytest

from qfedfm.core import phases
from qfedfm.core.phases import phase, recording
from qfedfm.engine.profile import profiling, sentences, summary


@pytest.fixture
def clock(monkeypatch):
    now = [0]
    monkeypatch.setattr(phases.time, "perf_counter_ns", lambda: now[0])

    def turn(name, seconds):
        with phase(name):
            now[0] += int(seconds * 1e9)

    return turn


def test_overhead_is_the_training_that_is_no_pass(clock):
    with recording() as recorder:
        clock("data", 1)
        with phase("train"):
            clock("data", 2)
            clock("forward", 30)
            clock("backward", 50)
        clock("encode", 5)
        with phase("reduce"):
            clock("forward", 8)  # of a reduce's objective: its own cost
        with phase("evaluate"):
            clock("forward", 4)
    found = summary(recorder, 100.0)
    assert found["training"] == 88
    assert found["passes"] == 80
    assert found["overhead"] == pytest.approx(0.1)
    assert found["phases"] == {
        "data": 3, "train": 0, "forward": 30, "backward": 50, "encode": 5, "reduce": 8, "evaluate": 4,
    }  # fmt: skip
    said = " ".join(sentences(found))
    assert "backward 50.0%, forward 30.0%, reduce 8.0%" in said
    assert "overhead over its forward and backward passes is 10.0%" in said


def test_an_interrupted_run_leaves_its_profile(tmp_path):
    def interrupted():
        with profiling(tmp_path / "p.json"), phase("data"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    found = json.loads((tmp_path / "p.json").read_text())
    assert [event["name"] for event in found["traceEvents"]] == ["data"]
    assert found["otherData"]["overhead"] is None
