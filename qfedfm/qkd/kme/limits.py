"""What a key manager delivers in one request, and the standard's words for what it does not."""

from __future__ import annotations

from dataclasses import dataclass

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.kme.messages import NOT_MULTIPLE, UNSUPPORTED, KeyRequest
from qfedfm.qkd.units import UNIT, needed


class Refused(Exception):
    """An error of the standard's: a status and a message.

    Args:
        status: 400, 401 or 503.
        message: for whoever asked.
        details: name and value pairs.
    """

    def __init__(self, status: int, message: str, details: tuple[dict[str, object], ...] = ()) -> None:
        self.status, self.message, self.details = status, message, details
        super().__init__(message)


@dataclass(frozen=True)
class Limits:
    """Sizes in bits and numbers, as `Status` states them.

    Args:
        key_size: where a request names none.
        min_key_size: smallest.
        max_key_size: largest.
        max_key_per_request: keys in one request.
        max_SAE_ID_count: additional receivers of a key.

    Raises:
        ConfigError: a size that is no multiple of 8, sizes out of order, or a request that no message could hold.
    """

    key_size: int = UNIT
    min_key_size: int = 64
    max_key_size: int = 8192
    max_key_per_request: int = 128
    max_SAE_ID_count: int = 16

    def __post_init__(self) -> None:
        sizes = (self.min_key_size, self.key_size, self.max_key_size)
        if any(size % 8 for size in sizes) or not 8 <= sizes[0] <= sizes[1] <= sizes[2]:
            raise ConfigError(f"key sizes {sizes}", "multiples of 8 with minimum ≤ default ≤ maximum")
        count = self.max_key_per_request
        if not 1 <= count <= 1024 or count * needed(self.max_key_size) > 4096 or not 0 <= self.max_SAE_ID_count <= 1000:
            given = f"{self.max_key_per_request} keys of {self.max_key_size} bits in a request"
            raise ConfigError(given, f"1 to 1024 keys of at most 4096 units of {UNIT} bits in all, 0 to 1000 receivers")

    def check(self, asked: KeyRequest, slave: str) -> tuple[int, int, tuple[str, ...]]:
        """Number, size and receivers of a request that is within the limits.

        Raises:
            Refused: with 400, in the standard's words where it has some.
        """
        if asked.extension_mandatory:
            raise Refused(400, UNSUPPORTED, ({"extension_mandatory_unsupported": _names(asked.extension_mandatory)},))
        size = self.key_size if asked.size is None else asked.size
        if size % 8:
            raise Refused(400, NOT_MULTIPLE)
        if not self.min_key_size <= size <= self.max_key_size:
            raise Refused(400, f"size shall be from {self.min_key_size} to {self.max_key_size}")
        if not 1 <= asked.number <= self.max_key_per_request:
            raise Refused(400, f"number shall be from 1 to {self.max_key_per_request}")
        if len(asked.additional_slave_SAE_IDs) > self.max_SAE_ID_count:
            raise Refused(400, f"additional_slave_SAE_IDs shall be at most {self.max_SAE_ID_count}")
        slaves = (slave, *asked.additional_slave_SAE_IDs)
        if len(set(slaves)) != len(slaves):
            raise Refused(400, "slave SAE IDs shall be different")
        return asked.number, size, slaves


def _names(extensions: object) -> list[str]:
    """The names of extension parameters, of which there are a few at most; not their values."""
    tables = extensions if isinstance(extensions, list) else [extensions]
    names = [str(name)[:64] for table in tables if isinstance(table, dict) for name in table]
    return names[:16]
