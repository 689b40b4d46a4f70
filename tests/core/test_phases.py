"""Phases against a clock that the test turns by hand."""

import json
import threading

import pytest

from qfedfm.core import phases
from qfedfm.core.phases import phase, recording


@pytest.fixture
def clock(monkeypatch):
    now = [0]
    monkeypatch.setattr(phases.time, "perf_counter_ns", lambda: now[0])

    def turn(seconds):
        now[0] += int(seconds * 1e9)

    return turn


def test_times_are_those_of_the_clock_and_nested_time_is_counted_once(clock):
    with recording() as recorder:
        clock(1)
        with phase("train"):
            clock(2)
            with phase("forward"):
                clock(3)
            with phase("backward"):
                clock(4)
        with phase("reduce"):
            clock(5)
            with phase("forward"):
                clock(6)
    assert recorder.own() == {"train": 2, "forward": 3, "backward": 4, "reduce": 11}
    assert recorder.seconds("train") == 9
    assert recorder.seconds("forward") == 9
    assert recorder.seconds("forward", within=["train"]) == 3
    assert recorder.seconds("forward", "backward", "reduce") == 18
    events = {(event["name"], event["ts"], event["dur"]) for event in recorder.trace()["traceEvents"]}
    assert events == {
        ("train", 1e6, 9e6),
        ("forward", 3e6, 3e6),
        ("backward", 6e6, 4e6),
        ("reduce", 10e6, 11e6),
        ("forward", 15e6, 6e6),
    }


def test_a_trace_has_what_the_viewers_need():
    with recording() as recorder, phase("data"):
        pass
    (event,) = json.loads(json.dumps(recorder.trace()))["traceEvents"]
    assert event["ph"] == "X"
    assert isinstance(event["pid"], int)
    assert isinstance(event["tid"], int)


def test_an_error_ends_the_phase_and_the_recording(clock):
    def fail():
        with phase("data"):
            clock(1)
            raise KeyError

    with recording() as recorder, pytest.raises(KeyError):
        fail()
    assert recorder.own() == {"data": 1}
    with phase("data"):
        clock(1)
    assert recorder.own() == {"data": 1}


def test_a_phase_inside_one_of_the_same_name_is_not_counted_twice(clock):
    with recording() as recorder, phase("evaluate"):
        clock(1)
        with phase("evaluate"):
            clock(1)
    assert recorder.seconds("evaluate") == 2
    assert recorder.own() == {"evaluate": 2}


def test_threads_have_their_own_phases():
    def work():
        with phase("wire"):
            pass

    with recording() as recorder, phase("reduce"):
        other = threading.Thread(target=work)
        other.start()
        other.join()
    assert [span.path for span in recorder.spans] == [("wire",), ("reduce",)]
    assert len({span.thread for span in recorder.spans}) == 2


def test_a_device_is_waited_for_at_both_ends():
    waited = []
    with recording(lambda: waited.append(1)), phase("forward"):
        assert len(waited) == 1
    assert len(waited) == 2


def test_a_phase_nobody_records_makes_nothing_and_reads_no_clock(monkeypatch):
    def read():
        raise AssertionError("a clock was read")

    monkeypatch.setattr(phases.time, "perf_counter_ns", read)
    assert phase("forward") is phase("backward")
    with phase("forward"), phase("data"):
        pass
