"""The kind of parts that protect bodies on their way: bytes to bytes under a key, bound to where they belong."""

from __future__ import annotations

import abc
import time
from collections.abc import Sequence
from typing import ClassVar

from qfedfm.core.errors import StackError
from qfedfm.core.keyring import Keyring
from qfedfm.core.parts import Law, Part
from qfedfm.core.wire import Bytes, Frame


class Seal(Part):
    """Bytes to bytes: `seal` at the sender, `open` at the receiver, each with its own end of the same keys.

    A seal holds no key and no state: both are in the `Keyring` that stands beside the update, and in nothing that is
    saved or shown. ``identity`` is `Keyring.associated` of the header: it does not travel, and a body that arrives
    under another one does not open.
    """

    kind = "seal"
    laws = frozenset({Law.ROUND_TRIP, Law.TAMPERED, Law.ELSEWHERE})
    overhead: ClassVar[int]
    """Bytes that sealing adds to every body."""
    needs_raw: ClassVar[bool] = False
    """Whether its keys must be bits of a link as they came out of it (`RawKeySource`)."""

    @abc.abstractmethod
    def seal(self, body: Bytes, identity: bytes, keys: Keyring) -> Bytes:
        """The sealed body.

        Raises:
            KeyShortageError: there is no key for it.
        """

    @abc.abstractmethod
    def open(self, body: Bytes, identity: bytes, keys: Keyring) -> Bytes:
        """The body that was sealed.

        Raises:
            PayloadError: it is truncated, altered, of another identity or key, or was opened before.
        """

    @abc.abstractmethod
    def key_bytes(self, messages: int, largest: int) -> int:
        """Bytes of key for so many messages to one peer, none of which has a body of more than ``largest`` bytes."""


def added(seals: Sequence[Seal]) -> int:
    """Bytes that all seals together add to a body."""
    return sum(seal.overhead for seal in seals)


def seal_body(seals: Sequence[Seal], body: Bytes, header: Frame, keys: Keyring | None) -> Bytes:
    """A body sealed by each seal in turn.

    Raises:
        StackError: there are seals and no keys.
        KeyShortageError: there is no key for it.
    """
    if not seals:
        return body
    keys, clock = _required(seals, keys), time.perf_counter()
    identity, length = keys.associated(header), len(body)
    try:
        for seal in seals:
            body = seal.seal(body, identity, keys)
    finally:
        keys.account.seconds += time.perf_counter() - clock
    keys.account.bytes += len(body) - length
    return body


def open_body(seals: Sequence[Seal], body: Bytes, header: Frame, keys: Keyring | None) -> Bytes:
    """The body that `seal_body` sealed.

    Raises:
        StackError: there are seals and no keys.
        PayloadError: it is not what was sealed for this place.
    """
    if not seals:
        return body
    keys, clock = _required(seals, keys), time.perf_counter()
    identity = keys.associated(header)
    try:
        for seal in reversed(seals):
            body = seal.open(body, identity, keys)
    finally:
        keys.account.seconds += time.perf_counter() - clock
    return body


def _required(seals: Sequence[Seal], keys: Keyring | None) -> Keyring:
    if keys is None:
        raise StackError(f"seal {seals[0].name!r} without keys", "a keyring for each end", "name a source of keys")
    return keys
