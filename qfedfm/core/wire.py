"""The wire format: one header in front of every body, checked before anything is allocated.

| bytes | field | meaning |
|---|---|---|
| 0–3 | magic | ``QFFM`` |
| 4 | version | 1 |
| 5 | direction | 0 up (client to server), 1 down |
| 6–7 | reserved | zero |
| 8–11 | epoch | raised by one each time a run is resumed |
| 12–15 | round | |
| 16–19 | client | the sender of an update; 2³²−1 for a broadcast |
| 20–27 | layout | `Layout.digest` |
| 28–35 | stack | digest of the layers and the codec, so that no payload is read with another codec |
| 36–43 | samples | rows that the client trained on, as it claims; 0 on the way down |
| 44–51 | length | of the body |
| 52–59 | checksum | BLAKE2b-64 over the header before it and the body |

All numbers are little-endian. The checksum finds accidents; it does not authenticate: whoever can alter a payload can
make the checksum right again.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from qfedfm.core.errors import PayloadError

_IDENTITY = struct.Struct("<4sBBHIII8s8sQ")
_HEADER = struct.Struct(_IDENTITY.format + "Q")
_MAGIC, _VERSION = b"QFFM", 1
_BITS = {"direction": 8, "epoch": 32, "round": 32, "client": 32, "samples": 64}
_CHECKSUM = 8
OVERHEAD = _HEADER.size + _CHECKSUM
"""Bytes of a payload that are not body: 60."""
EVERYONE = 2**32 - 1
"""The client field of a broadcast."""
UP, DOWN = 0, 1
Bytes = bytes | bytearray | memoryview
"""What a body may be, so that none is copied for its type."""


@dataclass(frozen=True)
class Frame:
    """Who sends what to whom: the identity fields of a payload."""

    epoch: int
    round: int
    client: int
    layout: bytes
    stack: bytes
    direction: int = UP
    samples: int = 0

    @property
    def identity(self) -> bytes:
        """The header up to the length: what a seal binds a body to.

        Raises:
            PayloadError: a field does not fit its place in the header.
        """
        if len(self.layout) != 8 or len(self.stack) != 8:
            given = f"layout and stack of {len(self.layout)} and {len(self.stack)} bytes"
            raise PayloadError(given, "8 bytes each")
        try:
            return _IDENTITY.pack(
                _MAGIC, _VERSION, self.direction, 0, self.epoch, self.round, self.client,
                self.layout, self.stack, self.samples,
            )  # fmt: skip
        except struct.error:
            name, bits = next((name, bits) for name, bits in _BITS.items() if not 0 <= getattr(self, name) < 2**bits)
            raise PayloadError(f"{name} {getattr(self, name)}", f"0 to 2^{bits} − 1") from None


def frame(body: Bytes, header: Frame) -> bytes:
    """The payload: header, checksum, body.

    Raises:
        PayloadError: an identity field does not fit its place in the header.
    """
    head = header.identity + struct.pack("<Q", len(body))
    return b"".join((head, _digest(head, body), body))


def _digest(head: Bytes, body: Bytes) -> bytes:
    state = hashlib.blake2b(head, digest_size=_CHECKSUM)
    state.update(body)
    return state.digest()


def unframe(payload: Bytes, expected: Frame, largest: int) -> tuple[memoryview, int]:
    """The body, without a copy, and the sample count that the sender claims.

    Args:
        payload: what arrived.
        expected: the identity that the receiver waits for; ``samples`` is not compared.
        largest: the most bytes that a body may have.

    Raises:
        PayloadError: truncated, over-long, altered, of another version, or addressed elsewhere (which, is said).
    """
    if len(payload) < OVERHEAD:
        raise PayloadError(f"a payload of {len(payload)} bytes", f"at least {OVERHEAD}")
    view = memoryview(payload)
    magic, version, direction, reserved, epoch, round_, client, layout, stack, samples, length = _HEADER.unpack(
        view[: _HEADER.size]
    )
    if magic != _MAGIC or version != _VERSION or reserved:
        raise PayloadError(f"a payload that starts with {bytes(view[:8])!r}", f"wire format version {_VERSION}")
    if length != len(payload) - OVERHEAD or length > largest:
        raise PayloadError(
            f"a body of {len(payload) - OVERHEAD} bytes that claims {length}", f"at most {largest}, as claimed"
        )
    if _digest(view[: _HEADER.size], view[OVERHEAD:]) != bytes(view[_HEADER.size : OVERHEAD]):
        raise PayloadError("a payload whose checksum does not match", "an unaltered payload")
    found = Frame(epoch, round_, client, layout, stack, direction)
    for name in ("direction", "layout", "stack", "client", "round", "epoch"):
        if getattr(found, name) != getattr(expected, name):
            raise PayloadError(f"a payload of {name} {_show(found, name)}", f"{name} {_show(expected, name)}")
    return view[OVERHEAD:], samples


def _show(header: Frame, name: str) -> str:
    value = getattr(header, name)
    return value.hex() if isinstance(value, bytes) else str(value)
