"""``qfedfm submit`` and ``qfedfm jobs`` on a fake device, as a user types them."""

import json
import re
import shutil

import pytest

from qfedfm.quantum.cloud.ledger import Ledger
from tests.test_cli import TINY


@pytest.fixture
def typed(terminal, tmp_path, monkeypatch):
    monkeypatch.setenv("QFEDFM_LEDGER", str(tmp_path / "data" / "jobs.sqlite"))
    return terminal


def job_of(out):
    return re.search(r"Job (\w{8}) is on", out)[1]


def test_a_circuit_there_and_back(typed):
    status, out, _ = typed("submit", "born:4", "--bind", "theta=0.3", "--backend", "fake:manila", "--shots", 400)
    assert status == 0
    assert "2 qubits, depth" in out
    assert "expected fidelity 0.9" in out
    assert "price $0.00 (as of 2026-" in out
    job = job_of(out)
    status, out, _ = typed("jobs", "list")
    assert [line.split()[3] for line in out.splitlines()] == ["done", "sent"]
    assert "canary" in out
    assert typed("jobs", "status", job)[1] == f"{job} done\n"
    assert typed("jobs", "wait", job)[1] == f"{job} done\n"
    status, out, _ = typed("jobs", "result", job, "--json")
    found = json.loads(out)
    assert sum(found["counts"].values()) == 400
    assert {len(bits) for bits in found["counts"]} == {2}
    status, _, err = typed("jobs", "cancel", job)
    assert (status, "is done; expected one that is under way" in err) == (2, True)


def test_a_dry_run_sends_nothing(typed, tmp_path):
    status, out, _ = typed("submit", "born:4", "--bind", "theta=0.3", "--backend", "fake:manila", "--dry-run")
    assert status == 0
    assert "Nothing was sent" in out
    assert not Ledger(tmp_path / "data" / "jobs.sqlite").all()


def test_an_own_file_of_openqasm(typed, tmp_path):
    (tmp_path / "mine.qasm").write_text(
        'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c; x q[0]; c = measure q;'
    )
    _, out, _ = typed("submit", "mine.qasm", "--backend", "fake:manila", "--shots", 200)
    counts = json.loads(typed("jobs", "result", job_of(out), "--json")[1])["counts"]
    assert counts["01"] > 150


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["born:4"], "free parameters theta"),
        (["born:4", "--bind", "theta=1", "--backend", "fake:manilla"], "did you mean 'manila'"),
        (["born:64", "--bind", "theta=1"], "6 qubits on 'fake:manila'; expected at most 5"),
        (["born:4", "--bind", "theta=1", "--method", "born"], "which is no run"),
        (["missing.qasm"], "missing.qasm cannot be read"),
        (["born:4", "--bind", "theta=1", "--prices", "no.toml"], "prices in no.toml cannot be read"),
    ],
)
def test_bad_words_are_one_line(typed, words, said):
    backend = [] if "--backend" in words else ["--backend", "fake:manila"]
    status, _, err = typed("submit", *words, *backend)
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1


def test_what_costs_money_is_not_sent_without_a_yes(typed, tmp_path):
    arn = "braket:arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"
    status, out, err = typed("submit", "born:4", "--bind", "theta=1", "--backend", arn)
    assert "price $2.19" in out  # 1000 shots and a canary of 100
    assert (status, "nobody to ask; say --yes" in err) == (2, True)
    status, _, err = typed("submit", "born:4", "--bind", "theta=1", "--backend", arn, "--yes", "--budget", "1")
    assert (status, "expected at most $1.00" in err) == (2, True)
    assert not Ledger(tmp_path / "data" / "jobs.sqlite").all()


def test_an_intent_is_settled_by_hand(typed, tmp_path):
    from qfedfm.quantum.cloud.ledger import Entry

    book = Ledger(tmp_path / "data" / "jobs.sqlite")
    for name in ("aa11", "bb22"):
        book.intend(Entry(name, "fake:manila", "job", "r", 5, {}, ""))
    status, _, err = typed("jobs", "status", "aa")
    assert (status, "is an intent" in err) == (2, True)
    status, _, err = typed("jobs", "settle", "aa")
    assert (status, "one of them" in err) == (2, True)
    assert typed("jobs", "settle", "aa", "--sent", "fake-1")[1] == "aa11 sent\n"
    assert typed("jobs", "settle", "bb", "--not-sent")[1] == "bb22 not sent\n"
    status, _, err = typed("jobs", "settle", "aa", "--not-sent")
    assert (status, "never settled" in err) == (2, True)


@pytest.mark.slow
def test_from_a_finished_run_to_its_report_in_two_commands(typed, tmp_path):
    krum = TINY.index("[compare.krum]")
    arms = "".join(f'[compare.{name}]\nreduce = {{ name = "{name}", steps = 5 }}\n' for name in ("born", "softmax"))
    text = TINY[:krum] + arms
    (tmp_path / "tiny.toml").write_text(text)
    assert typed("run", "tiny.toml", "--out", "runs/tiny")[0] == 0
    status, out, err = typed("submit", "runs/tiny", "--backend", "fake:manila")
    assert status == 0, err
    status, out, _ = typed("jobs", "result", job_of(out))
    assert "client weights, on the device and exactly" in out
    page = (tmp_path / "runs" / "tiny" / "report.html").read_text(encoding="utf-8")
    assert "The trained circuits on devices" in page
    assert "fake:manila" in page
    (line,) = json.loads((tmp_path / "runs" / "tiny" / "devices.json").read_text())
    assert line["total_variation"] < 0.3
    assert sum(line["weights"]) == pytest.approx(1)
    typed("jobs", "result", line["job"][:8])
    assert len(json.loads((tmp_path / "runs" / "tiny" / "devices.json").read_text())) == 1
    status, _, err = typed("submit", "runs/tiny", "--backend", "fake:manila", "--method", "softmax")
    assert (status, "has no trained circuit" in err) == (2, True)
    status, _, err = typed("submit", "runs/tiny", "--backend", "fake:manila", "--seed", "9")
    assert (status, "no run of 'born' with seed 9" in err) == (2, True)
    shutil.rmtree(tmp_path / "runs" / "tiny" / "checkpoints")
    status, _, err = typed("submit", "runs/tiny", "--backend", "fake:manila")
    assert (status, "no checkpoint of born" in err) == (2, True)
    (tmp_path / "runs" / "tiny" / "devices.json").write_text("{}")
    status, _, err = typed("report", "runs/tiny")
    assert (status, "devices.json is damaged" in err) == (2, True)
