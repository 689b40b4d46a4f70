"""The file of a key store: SQLite that forgets, and a clock that nobody can set."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from qfedfm.core.errors import KeyStoreError
from qfedfm.qkd.vault import MasterKey, Vault, shared

_PATIENCE = 10.0
"""Seconds to wait for another process that is just writing."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS links (peer TEXT PRIMARY KEY, numbered INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS units (
    peer TEXT NOT NULL, ours INTEGER NOT NULL, number INTEGER NOT NULL, secret BLOB NOT NULL, label TEXT NOT NULL,
    key_id TEXT, deadline REAL, PRIMARY KEY (peer, ours, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    key_id TEXT PRIMARY KEY, master TEXT NOT NULL, secret BLOB, label TEXT NOT NULL, deadline REAL NOT NULL);
CREATE TABLE IF NOT EXISTS rights (
    key_id TEXT NOT NULL, sae TEXT NOT NULL, PRIMARY KEY (key_id, sae)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reserved ON units (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS mortal ON keys (deadline) WHERE secret IS NOT NULL;
CREATE INDEX IF NOT EXISTS past ON keys (deadline);
"""
_FILES = ("", "-wal", "-shm")
"""What SQLite adds to the path: the file, its log, and the log's index."""
_CHECK = b"opened by the right master key"


class Database:
    """A connection to the file; every change is on disk before `change` ends.

    Write-ahead log with ``synchronous=FULL`` and ``secure_delete``: what is deleted is overwritten with zeros in the
    file, and `truncate` empties the log, which still holds the pages as they were. Neither reaches copies that the
    file system or the disk keeps by itself; those stay sealed by the master key.

    **Time** is the age of the store: it grows by what the machine's monotonic clock grows, across all processes, and
    stands still while the machine is off. The wall clock is never read, so that setting it neither revives nor kills a
    key. After a restart of the machine less time may be counted than has passed, never more.

    Args:
        path: the file, made with mode 600 where it is missing and refused where others may use it.
        master: opens it.
        monotonic: seconds since some moment, the same for all processes of the machine.

    Raises:
        KeyStoreError: it cannot be opened, holds something else, or the master key is another's.
    """

    def __init__(self, path: Path, master: MasterKey, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._monotonic = monotonic
        self._lock = threading.RLock()
        with self._explained():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._private()
            self._connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            with self._explained():
                for pragma in ("secure_delete = ON", "synchronous = FULL", "journal_mode = WAL"):
                    self._connection.execute(f"PRAGMA {pragma}").fetchall()
            self.vault = self._opened(master)
        except KeyStoreError:
            self._connection.close()
            raise

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other process or thread can come between: all of it, or nothing."""
        with self._lock, self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def look(self) -> Iterator[sqlite3.Connection]:
        """Reads what is committed."""
        with self._lock, self._explained():
            yield self._connection

    def age(self, connection: sqlite3.Connection) -> float:
        """Seconds that the store has lived; inside a `change`."""
        now = self._monotonic()
        found = connection.execute("SELECT value FROM meta WHERE name = 'clock'").fetchone()
        age, last = map(float, found[0].split()) if found else (0.0, now)
        age += now - last if now >= last else max(now, 0.0)  # a clock below its last reading began anew
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('clock', ?)", (f"{age!r} {now!r}",))
        return age

    def truncate(self) -> None:
        """Empties the log, unless another process is just reading; it is then emptied the next time."""
        with self._lock, self._explained():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Empties the log and closes the file."""
        with self._lock:
            self.truncate()
            self._connection.close()

    def _private(self) -> None:
        """Refuses files that others than their owner may read or write, as a master key is refused."""
        for path in (Path(f"{self.path}{end}") for end in _FILES):
            if path.exists() and shared(path.stat()):
                given = f"the key store {path} cannot be used (others can read or write it)"
                raise KeyStoreError(given, "a file of mode 600", f"chmod 600 {path}, if nobody can have altered it")

    def _opened(self, master: MasterKey) -> Vault:
        with self.change() as connection:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('salt', ?)", (os.urandom(32),))
            vault = Vault(master, connection.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()[0])
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('check', ?)", (vault.seal(_CHECK, "check"),))
            check = connection.execute("SELECT value FROM meta WHERE name = 'check'").fetchone()[0]
            vault.open(check, "check")
        return vault

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            given = f"the key store {self.path} cannot be used ({reason})"
            raise KeyStoreError(given, "a file of a key store, on a local disk with room") from None
