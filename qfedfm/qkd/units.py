"""Units of shared bits: what a link makes, and what keys are cut from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qfedfm.core.errors import ConfigError, KeyRefusedError, KeyShortageError
from qfedfm.core.keys import KeyId
from qfedfm.qkd.vault import Vault

UNIT = 256
"""Bits of a unit."""
_OWN = "peer = ? AND ours = ?"
_FREE = f"{_OWN} AND key_id IS NULL"


def needed(size: int) -> int:
    """Units for a key of ``size`` bits; what is left of the last one is thrown away.

    Example:
        >>> needed(256), needed(264)
        (1, 2)
    """
    return -(-size // UNIT)


@dataclass(frozen=True)
class Units:
    """The units of one owner on one link, inside transactions of a key store.

    Args:
        vault: seals them.
        peer: the key manager at the other end of the link.
        ours: whether this end owns them.
    """

    vault: Vault
    peer: str
    ours: bool

    def put(self, connection: sqlite3.Connection, units: Mapping[int, bytes], label: str, capacity: int) -> None:
        """Adds 32 bytes by number.

        Raises:
            ConfigError: a unit of another length.
            KeyShortageError: there is no room for them.
        """
        if any(len(secret) != UNIT // 8 for secret in units.values()):
            raise ConfigError("a unit of another length", f"{UNIT // 8} bytes")
        if len(self.numbers(connection)) + len(units) > capacity:
            raise KeyShortageError(f"no room for {len(units)} units", f"at most {capacity} on a link")
        connection.executemany(
            "INSERT INTO units VALUES (?, ?, ?, ?, ?, NULL, NULL)",
            (
                (*self._own, number, self.vault.seal(secret, *self._record(number, label)), label)
                for number, secret in units.items()
            ),
        )

    def numbers(self, connection: sqlite3.Connection) -> list[int]:
        """All of them, ascending, reserved ones included."""
        found = connection.execute(f"SELECT number FROM units WHERE {_OWN} ORDER BY number", self._own)
        return [number for (number,) in found]

    def free(self, connection: sqlite3.Connection, most: int = -1) -> list[int]:
        """The first that are not reserved; all, where ``most`` is negative."""
        statement = f"SELECT number FROM units WHERE {_FREE} ORDER BY number LIMIT ?"
        return [number for (number,) in connection.execute(statement, (*self._own, most))]

    def reserve(self, connection: sqlite3.Connection, units: Mapping[KeyId, tuple[int, ...]], deadline: float) -> None:
        """Binds units to keys until the deadline."""
        connection.executemany(
            f"UPDATE units SET key_id = ?, deadline = ? WHERE {_FREE} AND number = ?",
            ((key_id, deadline, *self._own, number) for key_id, numbers in units.items() for number in numbers),
        )

    def burn(self, connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
        """Deletes units."""
        statement = f"DELETE FROM units WHERE {_OWN} AND number = ?"
        connection.executemany(statement, ((*self._own, number) for number in numbers))

    def cut(
        self, connection: sqlite3.Connection, numbers: Sequence[int], size: int, key_id: KeyId | None
    ) -> tuple[bytes, str]:
        """A key of ``size`` bits from units, which are burnt, and their label.

        Args:
            connection: in a transaction.
            numbers: of the units, in this order.
            size: bits.
            key_id: that they are reserved for; None for free ones.

        Raises:
            KeyRefusedError: a unit is missing or reserved otherwise, one is named twice, or they are too many or few.
        """
        statement = f"SELECT secret, label FROM units WHERE {_OWN} AND number = ? AND key_id IS ?"
        rows = [connection.execute(statement, (*self._own, number, key_id)).fetchone() for number in numbers]
        found = [(number, *row) for number, row in zip(numbers, rows, strict=True) if row is not None]
        if len(found) != needed(size) or len(set(numbers)) != len(numbers) or len(found) != len(numbers):
            remedy = "the key is burnt; ask for a new one"
            raise KeyRefusedError(f"{len(found)} of {len(numbers)} units for {size} bits", f"{needed(size)}", remedy)
        self.burn(connection, numbers)
        bits = b"".join(self.vault.open(sealed, *self._record(number, label)) for number, sealed, label in found)
        return bits[: size // 8], "; ".join(dict.fromkeys(label for _, _, label in found))

    def _record(self, number: int, label: str) -> tuple[str | int, ...]:
        return "unit", self.peer, int(self.ours), number, label

    @property
    def _own(self) -> tuple[str, int]:
        return self.peer, int(self.ours)
