"""The ledger: on disk at once, one submission at a time, and clear when it cannot be used."""

import sqlite3

import pytest

from qfedfm.core.errors import ConfigError, LedgerError
from qfedfm.quantum.cloud import ledger as ledgers
from qfedfm.quantum.cloud.ledger import Entry, Ledger, default_path


def entry(uuid, **others):
    return Entry(uuid, "double:x", "job", "digest", 10, {"name": "born", "run": "a folder"}, "OPENQASM 3.0;", **others)


def test_what_is_written_is_read_by_another(tmp_path):
    ledger = Ledger(tmp_path / "deep" / "jobs.sqlite")
    written = entry("aa11", price=1.25)
    ledger.intend(written)
    assert Ledger(ledger.path).all() == [written]
    ledger.sent("aa11", "job-1")
    ledger.settle("aa11", "done", {"00": 4, "11": 6}, 2.5)
    found = Ledger(ledger.path).get("aa")
    assert (found.state, found.job, found.counts, found.seconds) == ("done", "job-1", {"00": 4, "11": 6}, 2.5)


def test_a_sent_job_keeps_its_first_id(tmp_path):
    ledger = Ledger(tmp_path / "jobs.sqlite")
    ledger.intend(entry("aa"))
    ledger.sent("aa", "one")
    ledger.sent("aa", "two")
    assert ledger.get("aa").job == "one"


@pytest.mark.parametrize("start", ["", "b", "a"])
def test_an_id_must_name_one_job(tmp_path, start):
    ledger = Ledger(tmp_path / "jobs.sqlite")
    ledger.intend(entry("a1"))
    ledger.intend(entry("a2"))
    with pytest.raises(ConfigError, match="jobs with an id that begins with"):
        ledger.get(start)


def test_the_same_uuid_is_not_written_twice(tmp_path):
    ledger = Ledger(tmp_path / "jobs.sqlite")
    ledger.intend(entry("a1"))
    with pytest.raises(LedgerError, match="UNIQUE"):
        ledger.intend(entry("a1"))


def test_another_process_that_is_writing_is_waited_for_and_then_named(tmp_path, monkeypatch):
    monkeypatch.setattr(ledgers, "_PATIENCE", 0.05)
    ledger = Ledger(tmp_path / "jobs.sqlite")
    ledger.intend(entry("a1"))
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerError, match="locked"):
        ledger.intend(entry("a2"))
    other.execute("ROLLBACK")
    other.close()
    assert [known.uuid for known in ledger.all()] == ["a1"]


def test_one_submission_at_a_time(tmp_path):
    ledger = Ledger(tmp_path / "jobs.sqlite")
    with ledger.alone(), pytest.raises(LedgerError, match="in use by another"), Ledger(ledger.path).alone():
        pass
    with ledger.alone():
        ledger.intend(entry("a1"))


def test_a_file_that_is_no_ledger(tmp_path):
    path = tmp_path / "jobs.sqlite"
    path.write_text("something else entirely, long enough to be no database header at all" * 20)
    with pytest.raises(LedgerError, match="cannot be used"):
        Ledger(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be made"):
        Ledger(tmp_path / "file" / "jobs.sqlite")


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.delenv(ledgers.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_path() == tmp_path / "qfedfm" / "jobs.sqlite"
    monkeypatch.setenv(ledgers.VARIABLE, str(tmp_path / "mine.sqlite"))
    assert default_path() == tmp_path / "mine.sqlite"
