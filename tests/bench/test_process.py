"""A measured program: its answer, its memory, what it leaves when it fails or is interrupted."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from qfedfm.bench import process
from qfedfm.bench.process import BenchError, Side, require, run
from qfedfm.core.errors import MissingExtraError


def side(code, options=None):
    return Side("it", ("-c", code), {} if options is None else options)


def test_the_last_line_is_the_answer_and_the_options_arrive_with_the_time_of_the_start():
    code = "import json, sys; given = json.loads(sys.argv[1]); print('noise'); print(json.dumps(given))"
    before = time.time()
    found = run(side(code, {"rows": 3}))
    assert found["rows"] == 3
    assert before <= found["spawned"] <= time.time()
    assert 0 < found["wall_seconds"] < 30


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit('the disk is full')", ["ended with status 1", "the disk is full"]),
        ("import sys; sys.exit(3)", ["status 3", "no message"]),
        ("print('no answer')", ["did not answer", "JSON"]),
        ("print(3)", ["did not answer"]),
        ("", ["did not answer"]),
    ],
)
def test_a_program_that_fails_says_why(code, words):
    with pytest.raises(BenchError) as error:
        run(side(code))
    for word in words:
        assert word in str(error.value)


def test_a_program_without_options_need_not_answer():
    found = run(Side("it", ("-c", "import sys; sys.exit(len(sys.argv) - 1)"), None))
    assert set(found) == {"wall_seconds", "peak_megabytes"}


def test_memory_is_that_of_everything_that_was_started(monkeypatch):
    monkeypatch.setattr(process, "INTERVAL", 0.05)
    hold = "import time; held = b'x' * {}; time.sleep(1)"
    code = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold.format(200_000_000)!r}]); print('{{}}')"
    )
    alone = run(side(f"{hold.format(1)}; print('{{}}')"))["peak_megabytes"]
    both = run(side(code))["peak_megabytes"]
    assert alone < 60
    assert 200 < both < 260 + alone


def test_an_interrupt_ends_everything_that_was_started(tmp_path):
    """As Ctrl-C at the terminal does: the signal goes to the harness, whose programs have a session of their own."""
    pid = tmp_path / "pid"
    grandchild = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)"
    apart = "start_new_session=True"
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {grandchild!r}], {apart}).wait()"
    # a parent that ignores the signal, such as a shell that runs the tests in the background, hands that down
    harness = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    harness += f"; from qfedfm.bench.process import Side, run; run(Side('it', ('-c', {child!r})))"
    running = subprocess.Popen([sys.executable, "-c", harness], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not pid.exists() or not pid.read_text():
        assert time.monotonic() < deadline, "nothing was started"
        time.sleep(0.05)
    time.sleep(1.2)  # seen once more by the harness
    os.kill(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=20)
    assert b"KeyboardInterrupt" in errors
    number = int(pid.read_text())
    assert not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


def test_a_missing_peer_names_the_extra(monkeypatch):
    with pytest.raises(MissingExtraError, match=r"no_such_peer is not installed.*constraints.txt -e \"\.\[bench\]\""):
        require("no_such_peer")
    require("json")


def test_peers_are_told_not_to_reach_for_a_network():
    code = "import json, os; print(json.dumps({'seen': os.environ['FLWR_TELEMETRY_ENABLED']}))"
    assert run(side(code))["seen"] == "0"
    assert json.dumps(process.QUIET)
