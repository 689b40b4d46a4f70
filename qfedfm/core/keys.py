"""Where two parties get the same secret from: each key once for each of them."""

from __future__ import annotations

import os
import threading
import uuid
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from qfedfm.core.errors import ConfigError, KeyRefusedError, KeyUnknownError
from qfedfm.core.key import Key

KeyId: TypeAlias = str
"""The name of a key, which is no secret: the initiator sends it to the other side."""


@runtime_checkable
class KeySource(Protocol):
    """One party's end of a source of shared keys: a quantum link, a key service, a key agreement, or a test.

    The initiator calls `fresh` and sends the id to its peer, who calls `by_id`. Each gets the key once; a key that was
    given is in no hands but theirs. A lost answer costs the key, never a second use.
    """

    @property
    def label(self) -> str:
        """What shows beside everything that the keys protect: where they are from and what they are not."""
        ...

    @property
    def secret(self) -> bool:
        """Whether nobody else can make the keys again; false for keys from a seed."""
        ...

    def fresh(self, peer: str, size: int) -> tuple[KeyId, bytes]:
        """A new key that is shared with ``peer``, and its id.

        Args:
            peer: the other side's name at this source.
            size: of the key, in bytes.

        Raises:
            KeyShortageError: there is none now.
            KeyServiceError: the source cannot be reached.
        """
        ...

    def by_id(self, peer: str, key_id: KeyId) -> bytes:
        """The key of which ``peer`` is the initiator and has sent the id.

        Raises:
            KeyRefusedError: it was given already, or is not for this party.
            KeyServiceError: the source cannot be reached.
        """
        ...


@dataclass
class SharedMemory:
    """Keys for parties in one process: for tests, and for simulations in which how keys come about does not matter.

    Args:
        seed: a key of the simulation, for runs that must repeat. It makes the keys no secret, and the label says so.

    Example:
        >>> memory = SharedMemory()
        >>> key_id, key = memory.end("alice").fresh("bob", 32)
        >>> memory.end("bob").by_id("alice", key_id) == key
        True
        >>> SharedMemory(Key.of(1)).end("alice").label
        'INSECURE: keys from a seed'
    """

    seed: Key | None = None
    _waiting: dict[tuple[str, str, KeyId], bytes] = field(default_factory=dict, repr=False)
    _given: int = field(default=0, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def end(self, party: str) -> MemoryKeys:
        """The end of one party."""
        return MemoryKeys(self, party)

    @property
    def label(self) -> str:
        """Where the keys are from."""
        return "INSECURE: keys from a seed" if self.seed is not None else "keys shared in memory"

    def make(self, initiator: str, responder: str, size: int) -> tuple[KeyId, bytes]:
        """A new key that waits for the responder."""
        if size < 1:
            raise ConfigError(f"a key of {size} bytes", "at least 1")
        with self._lock:
            self._given += 1
            if self.seed is None:
                key_id, key = str(uuid.uuid4()), os.urandom(size)
            else:
                stream = self.seed.fold("shared key", self._given).numpy()
                key_id, key = str(uuid.UUID(bytes=stream.bytes(16), version=4)), stream.bytes(size)
            self._waiting[initiator, responder, key_id] = key
        return key_id, key

    def take(self, initiator: str, responder: str, key_id: KeyId) -> bytes:
        """The key that waits for the responder, which is then gone."""
        with self._lock:
            key = self._waiting.pop((initiator, responder, key_id), None)
            known = any(name == key_id for _, _, name in self._waiting)
        if key is None:
            error = KeyRefusedError if known else KeyUnknownError
            given = f"key {key_id} from {initiator} for {responder}"
            raise error(
                given, "one that waits for this party", "each key is given once; ask the initiator for a new one"
            )
        return key


@dataclass(frozen=True)
class MemoryKeys:
    """One party's end of `SharedMemory`."""

    memory: SharedMemory
    party: str

    @property
    def label(self) -> str:
        return self.memory.label

    @property
    def secret(self) -> bool:
        return self.memory.seed is None

    def fresh(self, peer: str, size: int) -> tuple[KeyId, bytes]:
        return self.memory.make(self.party, peer, size)

    def by_id(self, peer: str, key_id: KeyId) -> bytes:
        return self.memory.take(peer, self.party, key_id)
