"""The ledger of jobs: what is to be sent is written before it is sent."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qfedfm.core.errors import ConfigError, LedgerError

VARIABLE = "QFEDFM_LEDGER"
_PATIENCE = 5.0
"""Seconds to wait for another process that is just writing."""
_COLUMNS = (
    "uuid", "backend", "kind", "request", "shots", "about", "qasm", "created", "state", "job", "told", "counts",
    "seconds", "message", "price",
)  # fmt: skip
_SCHEMA = """CREATE TABLE IF NOT EXISTS jobs (
    uuid TEXT PRIMARY KEY, backend TEXT NOT NULL, kind TEXT NOT NULL, request TEXT NOT NULL, shots INTEGER NOT NULL,
    about TEXT NOT NULL, qasm TEXT NOT NULL, created REAL NOT NULL, state TEXT NOT NULL, job TEXT,
    told INTEGER NOT NULL, counts TEXT, seconds REAL NOT NULL, message TEXT NOT NULL, price REAL)"""
OPEN, SENT, NEVER = "intent", "sent", "not sent"
ENDED = ("done", "failed", "cancelled", NEVER)


@dataclass(frozen=True)
class Entry:
    """A job in the ledger.

    Args:
        uuid: its name here and, sent along, at the provider.
        backend: where it goes.
        kind: ``job`` or ``canary``.
        request: a hash of what was asked for: two requests for the same have the same.
        shots: asked for.
        about: what the circuit is.
        qasm: the circuit, in OpenQASM 3.
        created: seconds since 1970.
        state: ``intent`` (not known to have been sent), ``sent``, ``done``, ``failed``, ``cancelled``, ``not sent``.
        job: the provider's id.
        told: whether the user has been told of it.
        counts: by bit string, qubit 0 last.
        seconds: on the device.
        message: of a failure.
        price: estimated, in dollars; None where no price is known.
    """

    uuid: str
    backend: str
    kind: str
    request: str
    shots: int
    about: Mapping[str, Any]
    qasm: str
    created: float = field(default_factory=time.time)
    state: str = OPEN
    job: str | None = None
    told: bool = False
    counts: Mapping[str, int] | None = None
    seconds: float = 0.0
    message: str = ""
    price: float | None = None


class Ledger:
    """The jobs of a user in one SQLite file; every change is on disk before the method returns.

    Args:
        path: the file, made with its folder where it is missing.

    Raises:
        LedgerError: it cannot be opened, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"{path.parent} cannot be made ({error.strerror})", "a folder of yours") from None
        with self._open() as connection:
            connection.execute(_SCHEMA)

    def intend(self, entry: Entry) -> None:
        """Writes what is about to be sent."""
        self._change(f"INSERT INTO jobs VALUES ({', '.join('?' * len(_COLUMNS))})", _row(entry))

    def sent(self, uuid: str, job: str) -> None:
        """Notes the provider's id of a job."""
        self._change("UPDATE jobs SET state = ?, job = ? WHERE uuid = ? AND state = ?", (SENT, job, uuid, OPEN))

    def settle(
        self, uuid: str, state: str, counts: Mapping[str, int] | None = None, seconds: float = 0.0, message: str = ""
    ) -> None:
        """Notes how a job ended."""
        found = None if counts is None else json.dumps(dict(counts))
        self._change(
            "UPDATE jobs SET state = ?, counts = ?, seconds = ?, message = ? WHERE uuid = ?",
            (state, found, seconds, message, uuid),
        )

    def tell(self, uuid: str) -> None:
        """Notes that the user knows of a job."""
        self._change("UPDATE jobs SET told = 1 WHERE uuid = ?", (uuid,))

    def all(self) -> list[Entry]:
        """All jobs, the oldest first."""
        with self._open() as connection:
            rows = connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM jobs ORDER BY created, uuid").fetchall()
        return [_entry(row) for row in rows]

    def get(self, start: str) -> Entry:
        """The job whose uuid begins so.

        Raises:
            ConfigError: none does, or several do.
        """
        found = [entry for entry in self.all() if entry.uuid.startswith(start)] if start else []
        if len(found) != 1:
            given = f"{len(found)} jobs with an id that begins with {start!r}"
            raise ConfigError(given, "one", "`qfedfm jobs list` shows them")
        return found[0]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Holds the ledger for this process against other submissions; a process that dies lets go of it.

        Raises:
            LedgerError: another process is submitting.
        """
        beside = self.path.with_name(self.path.name + ".lock")
        connection = sqlite3.connect(beside, timeout=0, isolation_level=None)
        try:
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                given = f"the ledger {self.path} is in use by another `qfedfm submit`"
                raise LedgerError(given, "", "wait until it has finished") from None
            yield
        finally:
            connection.close()

    def _change(self, statement: str, values: tuple[Any, ...]) -> None:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(statement, values)
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = None
        try:
            connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
            connection.execute("PRAGMA synchronous = FULL")
            yield connection
        except sqlite3.Error as error:
            given = f"the ledger {self.path} cannot be used ({error})"
            remedy = "wait for the other process, or name another file with --ledger"
            raise LedgerError(given, "a SQLite file that no other process is writing", remedy) from None
        finally:
            if connection is not None:
                connection.close()


def default_path() -> Path:
    """Where the ledger lies: QFEDFM_LEDGER, or the user's data folder."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "qfedfm" / "jobs.sqlite"


def _row(entry: Entry) -> tuple[Any, ...]:
    values = {name: getattr(entry, name) for name in _COLUMNS}
    values["about"] = json.dumps(dict(entry.about), ensure_ascii=False)
    values["counts"] = None if entry.counts is None else json.dumps(dict(entry.counts))
    values["told"] = int(entry.told)
    return tuple(values.values())


def _entry(row: tuple[Any, ...]) -> Entry:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["about"] = json.loads(values["about"])
    values["counts"] = None if values["counts"] is None else json.loads(values["counts"])
    return Entry(**{**values, "told": bool(values["told"])})
