"""The classical channel between two parties: bytes with a kind, a transcript of all of them, and whoever sits on it.

Everything that the parties tell each other goes through `Channel.send`, so that what has leaked about the key is read
from the transcript and not assumed.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from qfedfm.core.errors import PayloadError

ALICE, BOB = "alice", "bob"
_COUNT = struct.Struct("<I")


@dataclass(frozen=True)
class Message:
    """What travelled.

    Args:
        sender: ``alice`` or ``bob``.
        kind: what the receiver takes it for.
        body: as sent.
        leaked: bits of it that say something about the key.
    """

    sender: str
    kind: str
    body: bytes
    leaked: int = 0


@dataclass
class Channel:
    """A channel that delivers in order; ``between`` sees every message and may alter it.

    Args:
        between: gives the body that arrives in place of the one that was sent; None for a channel that nobody alters.

    Example:
        >>> channel = Channel()
        >>> unpack_bits(channel.send(ALICE, "parities", pack_bits(np.array([1, 0, 1], np.uint8)), leaked=3)).tolist()
        [1, 0, 1]
        >>> channel.leaked
        3
    """

    between: Callable[[Message], bytes] | None = None
    transcript: list[Message] = field(default_factory=list)

    def send(self, sender: str, kind: str, body: bytes, leaked: int = 0) -> bytes:
        """Sends and gives what arrives.

        Args:
            sender: ``alice`` or ``bob``.
            kind: of the message.
            body: its bytes.
            leaked: how many of its bits say something about the key.
        """
        message = Message(sender, kind, body, leaked)
        self.transcript.append(message)
        return body if self.between is None else self.between(message)

    @property
    def leaked(self) -> int:
        """Bits about the key that the transcript holds."""
        return sum(message.leaked for message in self.transcript)

    @property
    def bytes(self) -> int:
        """Length of all bodies."""
        return sum(len(message.body) for message in self.transcript)

    def by_kind(self) -> Counter[str]:
        """Leaked bits by kind of message."""
        counter: Counter[str] = Counter()
        for message in self.transcript:
            counter[message.kind] += message.leaked
        return counter


def pack_bits(bits: UInt8[np.ndarray, " n"]) -> bytes:
    """Their number in four bytes, then eight bits a byte."""
    return _COUNT.pack(len(bits)) + np.packbits(bits).tobytes()


def unpack_bits(body: bytes, expected: int | None = None) -> UInt8[np.ndarray, " n"]:
    """What `pack_bits` packed.

    Raises:
        PayloadError: the length does not fit the number of bits, or that number is not the expected one.
    """
    if len(body) < _COUNT.size:
        raise PayloadError(f"a message of {len(body)} bytes", "at least 4")
    (count,) = _COUNT.unpack_from(body)
    if len(body) != _COUNT.size + -(-count // 8):
        raise PayloadError(f"a message of {len(body)} bytes that claims {count} bits", "as many as it claims")
    if expected is not None and count != expected:
        raise PayloadError(f"a message of {count} bits", f"{expected}")
    return np.unpackbits(np.frombuffer(body, np.uint8, offset=_COUNT.size), count=count)
