"""The store of a key manager: units of shared bits become keys, and every key is given once to each who may have it.

A link fills the stores at both of its ends with the same *units* of 256 bits, each numbered and **owned** by the end
whose applications may start a key with it, so that the ends never take the same unit at once. A key passes through

1. `reserve` at the owner's end: units are bound to a new key id; nobody else gets them.
2. `accept` at the other end: the same units become a key that waits for its receivers.
3. `give` at the owner's end: the units are deleted and the key is returned, to be sent to whoever asked.

Each is one transaction that is on disk when the method returns, and 3 comes after 2 has been confirmed: when an answer
leaves, both ends have committed. Whatever breaks before that (a killed process, a lost confirmation) burns the key:
reserved units never become free again, because the other end may have accepted them.

A key that waits is sealed together with its master, the receivers that have not had it, its label and its deadline:
whoever can write the file but has no master key can spoil a key, and cannot give themselves or anybody else a right to
it.

What this cannot do. A copy of the file that is put back in place gives keys again: never restore one; start a new
store. Python cannot wipe memory: a key that was read stays in the process until the interpreter reuses the memory, and
may reach swap space or a core dump; run it with swap encrypted and core dumps off.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from qfedfm.core.errors import ConfigError, KeyRefusedError, KeyShortageError, KeyUnknownError, PayloadError
from qfedfm.core.keys import KeyId
from qfedfm.qkd.database import Database
from qfedfm.qkd.units import Units, needed
from qfedfm.qkd.vault import MasterKey


@dataclass(frozen=True)
class Given:
    """A key on its way out.

    Args:
        key_id: its name.
        secret: the key.
        label: of the link that its bits are from.
    """

    key_id: KeyId
    secret: bytes = field(repr=False)
    label: str


@dataclass(frozen=True)
class _Waiting:
    """What the store knows of a key, all of which is bound to its ciphertext."""

    key_id: KeyId
    master: str
    slaves: tuple[str, ...]
    label: str
    deadline: float

    def without(self, sae: str) -> _Waiting:
        return replace(self, slaves=tuple(each for each in self.slaves if each != sae))

    @property
    def record(self) -> tuple[str, ...]:
        return "key", self.key_id, self.master, self.label, repr(self.deadline), *sorted(self.slaves)


@dataclass(frozen=True)
class Plan:
    """Keys that are being made, as both ends must know them; nothing in it is secret.

    Args:
        master: who asked for them.
        slaves: who else may have each of them, once.
        size: bits of a key, a multiple of 8.
        units: the numbers of the units of each key.
    """

    master: str
    slaves: tuple[str, ...]
    size: int
    units: Mapping[KeyId, tuple[int, ...]]


class KeyStore:
    """Keys of one key manager in a SQLite file that several threads and processes may use at once.

    Args:
        path: the file, made where it is missing.
        master: encrypts all bits in it (AES-256-GCM).
        capacity: units of one owner on one link that it holds at most.
        reservation: seconds from `reserve` to `give`, after which the units are burnt.
        lifetime: seconds that an accepted key waits for its receivers, after which it is burnt; its id is refused as
            used for as long again.
        monotonic: the clock; see `Database` for how time is told.

    Raises:
        KeyStoreError: the file cannot be used, or the master key is another's.
    """

    def __init__(
        self,
        path: Path,
        master: MasterKey,
        capacity: int = 4096,
        reservation: float = 60.0,
        lifetime: float = 86400.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = Database(path, master, monotonic)
        self.capacity, self._reservation, self._lifetime = capacity, reservation, lifetime

    def number(self, peer: str, count: int) -> int:
        """The first of ``count`` numbers for units that this end is about to own, never given before."""
        with self._database.change() as connection:
            connection.execute("INSERT OR IGNORE INTO links VALUES (?, 0)", (peer,))
            (first,) = connection.execute("SELECT numbered FROM links WHERE peer = ?", (peer,)).fetchone()
            connection.execute("UPDATE links SET numbered = numbered + ? WHERE peer = ?", (count, peer))
        return int(first)

    def put(self, peer: str, ours: bool, units: Mapping[int, bytes], label: str) -> None:
        """Adds units that the other end has, too; all or none.

        Args:
            peer: the key manager at the other end of the link.
            ours: whether this end owns them.
            units: 32 bytes by number.
            label: what the link is, and is not.

        Raises:
            ConfigError: a unit of another length.
            KeyShortageError: the store has no room for them.
            KeyStoreError: a number is there already.
        """
        with self._database.change() as connection:
            self._units(peer, ours).put(connection, units, label, self.capacity)

    def free(self, peer: str) -> int:
        """Units on the link to ``peer`` that this end may start a key with."""
        with self._database.look() as connection:
            return len(self._units(peer, True).free(connection))

    def numbers(self, peer: str, ours: bool) -> list[int]:
        """The numbers of all units of one owner, ascending, reserved ones included."""
        with self._database.look() as connection:
            return self._units(peer, ours).numbers(connection)

    def keep(self, peer: str, ours: bool, numbers: Iterable[int]) -> int:
        """Burns the free units that the other end does not have; gives how many."""
        kept, units = set(numbers), self._units(peer, ours)
        with self._database.change() as connection:
            gone = [number for number in units.free(connection) if number not in kept]
            units.burn(connection, gone)
        return len(gone)

    def reserve(self, peer: str, master: str, slaves: Sequence[str], number: int, size: int) -> Plan:
        """Binds units to ``number`` new keys of ``size`` bits; the first step of three.

        Raises:
            ConfigError: a size that is no multiple of 8, or nothing to reserve.
            KeyShortageError: too few units are free.
        """
        if number < 1 or size < 8 or size % 8:
            raise ConfigError(f"{number} keys of {size} bits", "at least one, of a multiple of 8 bits")
        each, units = needed(size), self._units(peer, True)
        with self._database.change() as connection:
            age = self._expire(connection)
            free = units.free(connection, number * each)
            if len(free) < number * each:
                given = f"{len(free)} units for {number} keys of {size} bits"
                raise KeyShortageError(given, f"{number * each}", "wait until the link has made more")
            taken = iter(free)
            plan = Plan(
                master, tuple(slaves), size, {str(uuid.uuid4()): tuple(islice(taken, each)) for _ in range(number)}
            )
            units.reserve(connection, plan.units, age + self._reservation)
        return plan

    def accept(self, peer: str, plan: Plan) -> None:
        """Turns units of the other end's into keys that wait for their receivers; the second step, at the other end.

        Raises:
            KeyRefusedError: a unit is missing, the plan names one twice or too few, or the key is known already.
        """
        units = self._units(peer, False)
        with self._database.change() as connection:
            deadline = self._expire(connection) + self._lifetime
            for key_id, numbers in plan.units.items():
                secret, label = units.cut(connection, numbers, plan.size, None)
                waiting = _Waiting(key_id, plan.master, plan.slaves, label, deadline)
                self._note(connection, waiting, self._database.vault.seal(secret, *waiting.record))
                connection.executemany("INSERT INTO rights VALUES (?, ?)", ((key_id, sae) for sae in plan.slaves))

    def give(self, peer: str, plan: Plan) -> list[Given]:
        """The keys, for the master; the third step, after the other end has confirmed the second.

        Raises:
            KeyRefusedError: the reservation has expired, or they were given already.
        """
        units, given = self._units(peer, True), []
        with self._database.change() as connection:
            deadline = self._expire(connection) + self._lifetime
            for key_id, numbers in plan.units.items():
                secret, label = units.cut(connection, numbers, plan.size, key_id)
                self._note(connection, _Waiting(key_id, plan.master, (), label, deadline), None)
                given.append(Given(key_id, secret, label))
        return given

    def abandon(self, peer: str, plan: Plan) -> None:
        """Burns what was reserved."""
        with self._database.change() as connection:
            self._units(peer, True).burn(connection, [n for numbers in plan.units.values() for n in numbers])

    def collect(self, sae: str, master: str, key_ids: Sequence[KeyId], most: int | None = None) -> list[Given]:
        """Keys for one of their receivers: all of them, or none.

        Args:
            sae: the receiver.
            master: who started them.
            key_ids: which.
            most: bits of all of them together that whoever asks can take; None for any number.

        Raises:
            KeyUnknownError: there is none of that id.
            KeyRefusedError: this party has had it, may not have it, or it is another master's.
            PayloadError: they are more than ``most``; all wait on.
            KeyStoreError: what the file says of one of them was altered.
        """
        given, bits = [], 0
        with self._database.change() as connection:
            self._expire(connection)
            for key_id in key_ids:
                given.append(self._collected(connection, sae, master, key_id))
                bits += 8 * len(given[-1].secret)
                if most is not None and bits > most:
                    raise PayloadError("keys of too many bits in one request", f"at most {most}", "ask for fewer keys")
        return given

    def waiting(self) -> int:
        """Accepted keys that not all receivers have collected."""
        with self._database.look() as connection:
            return int(connection.execute("SELECT count(*) FROM keys WHERE secret IS NOT NULL").fetchone()[0])

    def sweep(self) -> None:
        """Burns what has expired and empties SQLite's log of what was deleted."""
        with self._database.change() as connection:
            self._expire(connection)
        self._database.truncate()

    def close(self) -> None:
        """Empties the log and closes the file."""
        self._database.close()

    def _units(self, peer: str, ours: bool) -> Units:
        return Units(self._database.vault, peer, ours)

    def _expire(self, connection: sqlite3.Connection) -> float:
        """Burns what has expired; gives the age of the store."""
        age = self._database.age(connection)
        connection.execute("DELETE FROM units WHERE key_id IS NOT NULL AND deadline <= ?", (age,))
        late = "deadline <= ? AND secret IS NOT NULL"
        connection.execute(f"DELETE FROM rights WHERE key_id IN (SELECT key_id FROM keys WHERE {late})", (age,))
        connection.execute(f"UPDATE keys SET secret = NULL WHERE {late}", (age,))
        connection.execute("DELETE FROM keys WHERE deadline <= ?", (age - self._lifetime,))
        return age

    def _note(self, connection: sqlite3.Connection, key: _Waiting, sealed: bytes | None) -> None:
        """Writes a key that waits; without a secret, only the memory that there was such a key."""
        if connection.execute("SELECT 1 FROM keys WHERE key_id = ?", (key.key_id,)).fetchone():
            raise KeyRefusedError(f"key {key.key_id}, which is known already", "a new id")
        row = (key.key_id, key.master, sealed, key.label, key.deadline)
        connection.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?)", row)

    def _found(self, connection: sqlite3.Connection, key_id: KeyId) -> tuple[_Waiting, bytes | None]:
        """What the file says of a key, which only opening it proves, and the key, sealed."""
        statement = "SELECT master, secret, label, deadline FROM keys WHERE key_id = ?"
        row = connection.execute(statement, (key_id,)).fetchone()
        if row is None:
            raise KeyUnknownError(f"key {key_id}", "the id of a key that waits here", "ask for a new one")
        master, sealed, label, deadline = row
        slaves = tuple(sae for (sae,) in connection.execute("SELECT sae FROM rights WHERE key_id = ?", (key_id,)))
        return _Waiting(key_id, master, slaves, label, deadline), sealed

    def _collected(self, connection: sqlite3.Connection, sae: str, master: str, key_id: KeyId) -> Given:
        """Takes the right away, and the key with the last right."""
        key, sealed = self._found(connection, key_id)
        if key.master != master or sealed is None or sae not in key.slaves:
            raise KeyRefusedError(f"key {key_id} for {sae}", "one that waits for it", "ask for a new one")
        vault, left = self._database.vault, key.without(sae)
        secret = vault.open(sealed, *key.record)
        connection.execute("DELETE FROM rights WHERE key_id = ? AND sae = ?", (key_id, sae))
        resealed = vault.seal(secret, *left.record) if left.slaves else None
        connection.execute("UPDATE keys SET secret = ? WHERE key_id = ?", (resealed, key_id))
        return Given(key_id, secret, key.label)
