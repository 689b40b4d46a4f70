"""One end's keys toward one peer while a run goes on: taken once, counted, never saved, copied or shown."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, SupportsIndex, runtime_checkable

from qfedfm.core.errors import KeyRefusedError, KeyServiceError, PayloadError, StackError
from qfedfm.core.keys import KeyId, KeySource
from qfedfm.core.wire import Frame

ID = 16
"""Bytes of a key's id in a sealed body."""
_DOMAIN = b"qfedfm seal 1"


@runtime_checkable
class RawKeySource(KeySource, Protocol):
    """A source that says whether its keys are bits of a link as they came out of it, never stretched from fewer."""

    @property
    def raw(self) -> bool:
        """Whether each bit of a key is as random as the link made it."""
        ...


@dataclass
class Account:
    """What sealing has cost so far; nothing in it is secret.

    Args:
        key_bits: taken from the sources of keys, each key counted at its initiator.
        bytes: that seals have added to payloads.
        seconds: spent on sealing and opening, the waiting for keys included.
    """

    key_bits: int = 0
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Turn:
    """What one message is sealed with.

    Args:
        key_id: of the key, as it stands in the message.
        key: the key, or what the seal makes of it.
        number: of the message among those under this key.
    """

    key_id: bytes
    key: Any = field(repr=False)
    number: int


@dataclass
class _Sending:
    key_id: bytes
    made: Any = field(repr=False)
    number: int = 0


@dataclass
class _Receiving:
    key: bytes = field(repr=False)
    made: Any = field(default=None, repr=False)
    last: int = -1


class Keyring:
    """The keys of one end toward one peer, for one run. Each end has its own; what one sends the other receives.

    A key is used for sending only at the end that initiated it, so that both directions have different keys. Messages
    under a key are numbered, and the receiver takes each number once and in ascending order; gaps are messages that
    were lost. A key that the peer has replaced is never used again.

    Args:
        source: this end's source of keys.
        peer: the other end's name at the source.
        run: bytes that stand for the run, the same at both ends.
        account: what is added to; a new one without it.
    """

    def __init__(self, source: KeySource, peer: str, run: bytes, account: Account | None = None) -> None:
        self._source, self.peer = source, peer
        self._domain = b"".join((_DOMAIN, len(run).to_bytes(4, "little"), run))
        self.account = Account() if account is None else account
        self._sending: dict[str, _Sending] = {}
        self._receiving: dict[tuple[str, bytes], _Receiving] = {}
        self._retired: set[bytes] = set()

    def __repr__(self) -> str:
        return f"Keyring(peer={self.peer!r}, source={self._source.label!r})"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """A copy would number messages a second time under the same key, and a saved one would be a saved secret."""
        raise StackError("a copy of a keyring", "one for each end of a run", "make a new one from the source of keys")

    def associated(self, header: Frame) -> bytes:
        """What a sealed body is bound to: the run and the identity fields of its header."""
        return self._domain + header.identity

    def require_raw(self, seal: str) -> None:
        """Refuses a source whose keys are not a link's own bits.

        Raises:
            StackError: it does not say that they are.
        """
        if not (isinstance(self._source, RawKeySource) and self._source.raw):
            given = f"seal {seal!r} with keys that are {self._source.label!r}"
            raise StackError(given, "raw bits of a quantum link", "choose aes-gcm, or a source that gives raw bits")

    def send(self, seal: str, size: int, messages: int, *, make: Callable[[bytes], Any] = bytes) -> Turn:
        """The key and the number for the next message, which no other message will ever have.

        Args:
            seal: the name of the seal; each has keys of its own.
            size: bytes of the key.
            messages: under one key, after which the next one is taken.
            make: what is given for the key, such as a cipher; made once for all messages under it.

        Raises:
            KeyShortageError: the source has no key now.
            KeyServiceError: the source cannot be reached, or gave something else than was asked for.
        """
        using = self._sending.pop(seal, None) or self._fresh(size, make)
        turn = Turn(using.key_id, using.made, using.number)
        using.number += 1
        if using.number < messages:
            self._sending[seal] = using
        return turn

    def _fresh(self, size: int, make: Callable[[bytes], Any]) -> _Sending:
        key_id, key = self._source.fresh(self.peer, size)
        if len(key) != size:
            raise KeyServiceError(f"a key of {len(key)} bytes by {self._source.label!r}", f"{size}")
        self.account.key_bits += 8 * size
        return _Sending(_packed(key_id), make(key))

    def receive(self, seal: str, key_id: bytes, number: int, size: int, *, make: Callable[[bytes], Any] = bytes) -> Any:
        """The key of a message that has arrived, which nobody has vouched for yet; after opening it comes `accept`.

        Args:
            seal: the name of the seal.
            key_id: as it stands in the message.
            number: likewise.
            size: bytes that the key must have.
            make: see `send`.

        Returns:
            What ``make`` gave.

        Raises:
            PayloadError: the message has come before, or later ones have, or there is no such key for it.
            KeyServiceError: the source cannot be reached.
        """
        if key_id in self._retired:
            raise PayloadError("a message under a key that is used up", "a new message", "it may have been replayed")
        held = self._receiving.get((seal, key_id))
        if held is None:
            held = self._receiving[seal, key_id] = _Receiving(self._take(key_id))
        if number <= held.last:
            given = f"message {number} after message {held.last} under the same key"
            raise PayloadError(given, "each once, in order", "it may have been replayed")
        if len(held.key) != size:
            raise PayloadError("a sealed body of another length than its key is for", "an unaltered body")
        if held.made is None:
            held.made = make(held.key)
        return held.made

    def _take(self, key_id: bytes) -> bytes:
        try:
            return self._source.by_id(self.peer, str(uuid.UUID(bytes=key_id)))
        except KeyRefusedError as error:
            raise PayloadError(f"a body sealed with a key that is not to be had ({error.given})") from None

    def accept(self, seal: str, key_id: bytes, number: int, *, last: bool) -> None:
        """After a message was opened and found authentic.

        Args:
            seal: the name of the seal.
            key_id: of its key.
            number: of the message.
            last: whether no other comes under that key.
        """
        held = self._receiving[seal, key_id]
        under_way, held.last = held.last >= 0, number
        if under_way and not last:  # then all others that had begun were retired with its first message
            return
        begun = [known for (name, known), held in self._receiving.items() if name == seal and held.last >= 0]
        for known in begun:  # others are only named by somebody so far, and may still come
            if last or known != key_id:
                del self._receiving[seal, known]
                self._retired.add(known)


def _packed(key_id: KeyId) -> bytes:
    try:
        parsed = uuid.UUID(key_id)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != key_id:
        raise KeyServiceError(f"a key with id {key_id!r}", "a UUID in lower case", "use a source with such ids")
    return parsed.bytes
