"""The command line as a newcomer uses it, with mistakes that are easily made: one line, status 2, nothing changed."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine.tiny import TinyTask

ROOT = Path(__file__).parents[1]
TINY = """
seeds = [1]
rounds = 1
[task]
kind = "python"
factory = "tests.engine.tiny:make"
[training]
rate = 0.1
steps = 2
batch_size = 8
optimizer = { name = "sgd" }
[engine]
mode = "sequential"
device = "cpu"
[compare.mean]
reduce = "mean"
[compare.krum]
reduce = { name = "krum", hostile = 1 }
"""


class Failing(TinyTask):
    """A user's task with nothing for its second client."""

    def split(self, key):
        split = super().split(key)
        split.train[1] = split.train[1][:0]
        return split


@pytest.fixture
def qfedfm(terminal):
    """Runs the command line in an empty folder with one experiment; gives the status, stdout and stderr."""
    Path("tiny.toml").write_text(TINY)
    return terminal


def files(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def refused(found, *words):
    """The error is the one line on stderr that is not progress, and it says these words."""
    status, out, err = found
    lines = [line for line in err.splitlines() if line != "preparing model and data"]
    assert (status, out, len(lines)) == (2, "", 1), found
    assert lines[0].startswith("qfedfm: ")
    assert "Errno" not in lines[0]
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["round=1"], ["unknown key 'round'", "did you mean 'rounds'?"]),
        (["rounds=x"], ["rounds = 'x'", "a valid integer"]),
        (["rounds=true"], ["rounds = True", "a valid integer"]),
        (["rounds=1.5"], ["rounds = 1.5", "a valid integer"]),
        (["rounds=0"], ["rounds = 0", "greater than or equal to 1"]),
        (["rounds"], ["--set 'rounds'", "key=value"]),
        (["=3"], ["--set '=3'", "key=value"]),
        ([".rounds=3"], ["key '.rounds'", "training.rate"]),
        (["rounds.x=3"], ["goes through 'rounds'", "a table"]),
        (["rounds=1", "rounds=2"], ["rounds set twice"]),
        (["seeds=[1, 1]"], ["seeds = [1, 1]", "different seeds"]),
        (["seeds=3"], ["seeds = 3", "a list"]),
        (["seeds=[]"], ["at least 1 value"]),
        (["training=3"], ["training = 3", "a table"]),
        (["training.rate=inf"], ["training.rate = inf", "finite"]),
        (["training.epochs=1"], ["[training]", "not both steps and epochs"]),
        (["training.optimizer.name=adamm"], ["training.optimizer.name = 'adamm'", "'sgd' or 'adamw'"]),
        (["task=3"], ["task = 3", "a table"]),
        (["task.kind=txt"], ["task.kind = 'txt'", "'text-classification', 'digits', 'masked' or 'python'"]),
        (["compare.krum.reduce=krun"], ["unknown reduce 'krun'", "did you mean 'krum'?"]),
        (["compare.krum.reduce=3"], ["compare.krum.reduce = 3", "a text in quotes or a table"]),
        (["compare.krum.reduce.hostile=2"], ["6 clients a round", "at least 7"]),
        (["compare.mean.redce=mean"], ["'compare.mean.redce'", "did you mean 'reduce'?"]),
        (["compare.born.reduce=born", "task.options.validation=0"], ["'born'", "validation"]),
        (["method.reduce=median"], ["[method] or [compare], not both"]),
        (["hostile.clients=6"], ["6 hostile clients of 6", "one honest client"]),
        (["hostile.clients=[9]"], ["hostile client 9", "(0, 1, 2, 3, 4, 5)"]),
        (["hostile.clients=[1, 1]"], ["different clients"]),
        (["hostile.clients=-1"], ["hostile.clients = -1", "greater than or equal to 0"]),
        (["hostile.clients=0", "hostile.attack=sing-flip"], ["'sing-flip'", "did you mean 'sign-flip'?"]),
        (["participation.clients_per_round=100"], ["100 of 6 clients", "at most 6"]),
        (["participation.dropout=2"], ["participation.dropout = 2", "less than or equal to 1"]),
        (["engine.device=gpu"], ["engine.device = 'gpu'", '"cpu", "cuda" or "auto"', "qfedfm doctor"]),
        (["engine.device=cuda:99"], ["engine.device = 'cuda:99'", "qfedfm doctor"]),
        (["engine.device=meta"], ["engine.device = 'meta'", "qfedfm doctor"]),
        (["engine.precision=float16"], ["'float16'", "'bfloat16'"]),
        (["task.factory=nothing"], ["task.factory = 'nothing'", "module:name"]),
        (["task.factory=no_such_module:make"], ["no_such_module", "run in the folder where it lies"]),
        (["task.factory=tests.engine.tiny:none"], ["no attribute 'none'", "module:name"]),
        (["task.factory=tests.engine.tiny:SETTINGS"], ["is a dict", "callable"]),
        (["task.factory=builtins:dict"], ["returned a dict", "a qfedfm Task"]),
        (["task.options.clints=3"], ["{'clints': 3}", "unexpected keyword argument 'clints'"]),
        (["task.options.rows=1"], ["client 0", "without training rows", "fewer clients"]),
        (["task.factory=tests.test_cli:Failing"], ["client 1 (client 1)", "at least one row"]),
        (["tune.seeds=[1]"], ["tune.seeds apart from seeds"]),
        (["tune.seeds=[5, 5]"], ["different seeds"]),
        (["tune.own.median.lr=[1]"], ["tune.own", "'median'"]),
        (['tune.grid={"training.rate"=0.1}'], ["tune.grid.training.rate = 0.1", "a list"]),
        (['tune.grid={"training.rate"=[]}'], ["at least 1 value"]),
        (['tune.grid."training.rat"=[0.1]'], ["[tune] for mean", "did you mean 'rate'?"]),
        (['tune.grid={"reduce.hostile"=[1]}'], ["[tune] for mean", "'hostile'"]),
        (['tune.grid={"training.rate"=[0.1]}', "task.options.tuning=0"], ["tuning rows", "task.tuning"]),
        (["task={base_model='/no/such/folder'}"], ["no model folder '/no/such/folder'"]),
        (["task={base_model='minilmm'}"], ["model 'minilmm' cannot be loaded", "did you mean 'minilm'?"]),
        (["task={data='twits'}"], ["task.data = 'twits'", "'tweets'", ".csv"]),
        (["task={data='my.csv'}"], ["client_column", "or another partition"]),
        (["task={data='my.csv', partition='iidd'}"], ["task.partition.name = 'iidd'", "'iid'"]),
        (["task={data='my.csv', partition={name='dirichlet'}}"], ["no 'task.partition.alpha'"]),
        (["task={data='rows.csv', partition='iid', validation=1, tuning=0}"], ["rows for 10 clients"]),
        (["task={adapter={layers='some'}}"], ["task.adapter.layers = 'some'", "'all' or a valid integer"]),
        (["task={adapter={layers=0}}"], ["'all' or greater than 0"]),
    ],
    ids=str,
)
def test_a_mistake_in_a_setting(qfedfm, changes, words):
    Path("rows.csv").write_text("text,label\n" + "".join(f"row number {i},{'ab'[i % 2]}\n" for i in range(12)))
    before = files(".")
    given = [text for change in changes for text in ("--set", change)]
    refused(qfedfm("run", "tiny.toml", "--out", "out", *given), *words)
    assert files(".") == before
    assert not Path("out").exists()


def test_a_data_file_that_does_not_fit(tmp_path):
    """In a process without checked annotations, which would read the data, and fail, when they look at a task."""
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "rows.csv").write_text("text,label\none,a\ntwo,b\n")
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from qfedfm.cli import main; main()"
    for task, words in (
        (
            "{data='my.csv', partition='iid'}",
            "qfedfm: no data file 'my.csv'; expected an existing file; check the path",
        ),
        ("{data='rows.csv', partition='iid', text_column='txt'}", "qfedfm: no column 'txt' in rows.csv (line 2)"),
    ):
        command = [sys.executable, "-c", code, str(ROOT), "run", "tiny.toml", "--set", f"task={task}"]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (found.returncode, found.stdout) == (2, "")
        assert found.stderr.splitlines()[-1].startswith(words)
        assert "Traceback" not in found.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "tiny.toml"]


def test_a_mistake_in_the_words(qfedfm):
    refused(qfedfm("run", "tiny.toml", "--seed", 1, "--seed", 2), "--seed 2 times", "--set seeds=[1, 2]")
    refused(qfedfm("run", "tiny.toml", "--seed", 1, "--set", "seeds=[2]"), "seeds set twice", "--seed")
    for words in ((), ("bogus",), ("run",), ("run", "tiny.toml", "--seed", "x"), ("run", "tiny.toml", "--bogus")):
        status, out, err = qfedfm(*words)
        assert status == 2
        assert "Traceback" not in err
        assert "Usage" in out + err


def test_an_experiment_file_that_is_none(qfedfm):
    Path("torn.toml").write_text("rounds = ")
    Path("bytes.toml").write_bytes(b"\xff\xfe\x00")
    refused(qfedfm("run", "none.toml"), "none.toml cannot be read (No such file or directory)", "check the path")
    refused(qfedfm("run", "."), "Is a directory", "an experiment file")
    refused(qfedfm("run", "torn.toml"), "torn.toml is not valid TOML", "end of document")
    refused(qfedfm("run", "bytes.toml"), "bytes.toml cannot be read", "an experiment file")


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("tiny.toml", ["tiny.toml, which is a file", "a folder", "--out"]),
        ("tiny.toml/below", ["which is a file, on the way to tiny.toml/below"]),
        ("mine", ["mine holds files that are not of a run", "an empty folder"]),
        ("n" * 300, ["File name too long", "--out"]),
    ],
)
def test_a_place_where_no_run_can_be_written(qfedfm, out, words):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years")
    before = files(".")
    refused(qfedfm("run", "tiny.toml", "--out", out), *words)
    assert files(".") == before


def test_a_full_disk(qfedfm, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    refused(qfedfm("run", "tiny.toml", "--out", "out"), "run.json cannot be written (No space left on device)", "room")
    monkeypatch.undo()


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 64
    path.write_bytes(content)


def _exchange(path):
    shutil.copy(path.parents[1] / "krum" / path.name, path)


def _folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (("--profile", "tiny.toml", "--out", "out"), "out/profile.json"),
        (("tiny.toml", "--out", "out", "--profile"), "out/profile.json"),
        (("tiny.toml", "--profile", "--out", "out"), "out/profile.json"),
        (("tiny.toml", "--profile", "trace.json", "--out", "out"), "trace.json"),
        (("tiny.toml", "--out", "out", "--profile=deep/trace.json"), "deep/trace.json"),
    ],
)
def test_a_profile(qfedfm, words, file):
    status, out, _ = qfedfm("run", *words)
    assert status == 0
    assert f"Trace: {file}" in out
    found = json.loads(Path(file).read_text())
    events = found["traceEvents"]
    assert {"train", "data", "encode", "wire", "reduce", "evaluate", "save"} <= {event["name"] for event in events}
    assert all(event["ph"] == "X" and event["ts"] >= 0 and event["dur"] >= 0 for event in events)
    whole = found["otherData"]["seconds"]
    assert max(event["ts"] + event["dur"] for event in events) <= whole * 1e6
    assert 0 < sum(found["otherData"]["phases"].values()) <= whole


def test_a_mistake_leaves_no_profile(qfedfm):
    refused(qfedfm("run", "tiny.toml", "--profile", "p.json", "--set", "hostile.clients=[9]"), "hostile client 9")
    assert not Path("p.json").exists()
    refused(qfedfm("run", "tiny.toml", "--set", "engine.memory=lots"), "engine.memory = 'lots'", '"4 GB"')


def test_a_run_that_is_there_already(qfedfm):
    status, out, err = qfedfm("run", "tiny.toml", "--out", "out")
    assert status == 0
    assert "mean" in out
    assert "krum" in out
    assert out.endswith("Report: out/report.html\n")
    conclusion = json.loads(Path("out/results.json").read_text())["conclusion"]
    assert conclusion
    assert all(sentence in out for sentence in conclusion)
    assert "[2/2] krum seed 1 round 1: 6 clients, loss" in err
    before = files("out")
    refused(qfedfm("run", "tiny.toml", "--out", "out"), "out holds a run already", "--resume")
    other = ("run", "tiny.toml", "--out", "out", "--set", "rounds=2", "--resume")
    refused(qfedfm(*other), "out holds a run of configuration", "same experiment", "--out")
    assert files("out") == before
    for damage, words in (
        (_cut, ["cannot be read", "delete the file"]),
        (_flip, ["was altered after it was written", "delete the file"]),
        (_exchange, ["is of method 'krum'", "'mean'"]),
        (_folder, ["cannot be read (Is a directory)"]),
    ):
        shutil.copytree("out", "copy")
        damage(Path("copy/checkpoints/mean/seed-1.safetensors"))
        harmed = files("copy")
        found = qfedfm("run", "tiny.toml", "--out", "copy", "--resume")
        refused(found, "seed-1.safetensors", *words)
        assert {path: content for path, content in files("copy").items() if path.name != "run.json"} == {
            path: content for path, content in harmed.items() if path.name != "run.json"
        }
        shutil.rmtree("copy")
    for note in ("x", "[]", '{"digest": 3}', '{"digest": "a", "epoch": "b", "plan": 3}'):
        Path("out/run.json").write_text(note)
        refused(qfedfm("run", "tiny.toml", "--out", "out", "--resume"), "run.json cannot be read", "--out")


def test_trials_that_were_altered(qfedfm):
    words = ("run", "tiny.toml", "--out", "out", "--set", 'tune.grid."training.rate"=[0.1]')
    assert qfedfm(*words)[0] == 0
    for text in ("{", "[]", '{"mean/0/1000": "x"}'):
        Path("out/tuning.json").write_text(text)
        refused(qfedfm(*words, "--resume"), "tuning.json cannot be read", "delete it")


def test_report(qfedfm):
    assert qfedfm("run", "tiny.toml", "--out", "out")[0] == 0
    Path("out/report.html").unlink()
    assert qfedfm("report", "out") == (0, "out/report.html\n", "")
    assert Path("out/report.html").stat().st_size > 10_000
    assert qfedfm("report", "out", "out", "--out", "both.html")[:2] == (0, "both.html\n")
    refused(qfedfm("report", "nowhere"), "nowhere is no folder", "check the path")
    refused(qfedfm("report", "."), "neither results.json nor history.jsonl")
    refused(qfedfm("report", "out", "--out", "."), "which is a folder", "report.html")
    refused(qfedfm("report", "out", "--out", "tiny.toml/x.html"), "cannot be written", "--out")
    results = Path("out/results.json").read_text()
    for text in ("{", "[]", '{"schema": 7}', '{"schema": 1}', '{"schema": 1, "runs": [], "experiment": 4}'):
        Path("out/results.json").write_text(text)
        refused(qfedfm("report", "out"), "results.json")
    Path("out/results.json").write_text(results)
    Path("out/history.jsonl").write_text("garbage\n")
    refused(qfedfm("report", "out"), "line 1", "history.jsonl", "--resume")
    Path("part").mkdir()
    shutil.copy("both.html", "part/notes.html")
    refused(qfedfm("report", "part"), "neither results.json nor history.jsonl")


def test_lists(qfedfm):
    status, out, _ = qfedfm("methods", "--json")
    named = {(line["kind"], line["name"]): line for line in json.loads(out)}
    assert status == 0
    assert named["reduce", "born"]["quantum"] is True
    assert "amplitudes" in named["reduce", "born"]["twins"]
    status, out, _ = qfedfm("methods")
    assert status == 0
    assert "multi-krum" in out
    status, out, _ = qfedfm("schema")
    assert (status, json.loads(out)) == (0, json.loads((ROOT / "experiments" / "schema.json").read_text()))


def test_doctor(qfedfm, monkeypatch):
    monkeypatch.setattr(
        "qfedfm.engine.doctor.examine",
        lambda: [("torch", "ok", "2.0"), ("tests", "missing", "pip install x"), ("free disk", "problem", "0.1 GB")],
    )
    status, out, _ = qfedfm("doctor")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["✓", "–", "✗"]
    assert "pip install x" in out
    assert out.endswith("Problems: free disk. Missing: tests.\n")
    monkeypatch.setattr("qfedfm.engine.doctor.examine", lambda: [("torch", "ok", "2.0")])
    assert qfedfm("doctor")[1].endswith("Everything is there.\n")


def test_help_is_quick_and_lists_what_works():
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "from qfedfm.cli import main; main()"
    found = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 1.5
    listed = found.stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.strip().splitlines()] == [
        "run", "report", "methods", "bench", "doctor", "schema", "submit", "circuits", "jobs", "kme", "qkd",
    ]  # fmt: skip
    assert "..." not in listed


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_can_be_resumed(tmp_path):
    (tmp_path / "my tiny.toml").write_text(TINY)
    words = ["run", "my tiny.toml", "--set", "rounds=300", "--seed", "7"]
    # a parent that ignores the signal, such as a shell that runs the tests in the background, hands that down
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code += "; sys.path.insert(0, sys.argv.pop(1)); from qfedfm.cli import main; main()"
    command = [sys.executable, "-c", code, str(ROOT)]
    history = tmp_path / "runs" / "my-tiny" / "history.jsonl"
    started = subprocess.Popen([*command, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not history.exists() or history.read_bytes().count(b"\n") < 3:
        assert time.monotonic() < deadline
        assert started.poll() is None
        time.sleep(0.005)
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=120)
    assert started.returncode == 130
    assert "Traceback" not in err
    assert err.endswith("go on with: qfedfm run 'my tiny.toml' --set rounds=300 --seed 7 --resume\n")
    again = subprocess.run([*command, *words, "--resume"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    results = json.loads((history.parent / "results.json").read_text())
    assert results["complete"] is True
    assert history.read_bytes().count(b"\n") == 2 * 301
