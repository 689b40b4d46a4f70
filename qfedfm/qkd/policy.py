"""What happens when a link has no key left: wait for it, refuse, or use another source where the user allows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from qfedfm.core.errors import ConfigError, KeyRefusedError, KeyServiceError, KeyShortageError
from qfedfm.core.keyring import RawKeySource
from qfedfm.core.keys import KeyId, KeySource

LowKeys: TypeAlias = Literal["wait", "refuse", "fallback"]
_PLACE, _USUAL, _MARK = 14, "4", "8"
"""Where a UUID has its version: 4 is random, 8 means what its maker says (RFC 9562)."""


@dataclass
class Supply:
    """A source of keys with a policy for when it runs short; itself a source.

    The id of a key from the fallback says so, in its version, so that both ends know what they hold: the other end
    takes such a key only if its own policy is ``fallback``, too. Nothing falls back by itself, and `label` counts how
    often it happened.

    Args:
        source: usually a quantum link's.
        low: ``wait`` for at most ``patience`` seconds, then refuse; ``refuse`` at once; ``fallback`` to the other one.
        fallback: such as an agreement by ML-KEM; required for, and only for, that policy.
        patience: seconds.
        pause: seconds between two tries while waiting.
        sleep: waits that long; for tests.

    Raises:
        ConfigError: a fallback without that policy, the policy without a fallback, or times that are not positive.

    Example:
        >>> from qfedfm.core.keys import SharedMemory
        >>> supply = Supply(SharedMemory().end("alice"), "refuse")
        >>> len(supply.fresh("bob", 32)[1])
        32
    """

    source: KeySource
    low: LowKeys = "refuse"
    fallback: KeySource | None = None
    patience: float = 30.0
    pause: float = 0.2
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    given: int = field(default=0, init=False)
    """Keys that this end has had."""
    fallen: int = field(default=0, init=False)
    """How many of them are from the fallback."""

    def __post_init__(self) -> None:
        if self.low not in ("wait", "refuse", "fallback"):
            raise ConfigError(f"low keys {self.low!r}", "wait, refuse or fallback")
        if (self.low == "fallback") != (self.fallback is not None):
            remedy = "name both or neither: nothing falls back unless it is asked to"
            raise ConfigError(
                f"low keys {self.low!r} and {'a' if self.fallback else 'no'} fallback", "a policy that fits", remedy
            )
        if not (0 < self.pause <= self.patience):
            raise ConfigError(
                f"a pause of {self.pause} s within {self.patience} s", "positive seconds, pause ≤ patience"
            )

    @property
    def label(self) -> str:
        """The source's label, and how many keys are not from it."""
        if self.fallback is None or not self.fallen:
            return self.source.label
        return f"{self.source.label}; {self.fallen} of {self.given} keys by fallback: {self.fallback.label}"

    @property
    def secret(self) -> bool:
        """Whether all that it may give is secret."""
        return self.source.secret and (self.fallback is None or self.fallback.secret)

    @property
    def raw(self) -> bool:
        """Whether all that it may give are bits of a link as they came out of it; see `RawKeySource`."""
        sources = (self.source,) if self.fallback is None else (self.source, self.fallback)
        return all(isinstance(source, RawKeySource) and source.raw for source in sources)

    def fresh(self, peer: str, size: int) -> tuple[KeyId, bytes]:
        """A key by the policy; see `KeySource`.

        Raises:
            KeyShortageError: there is none, after waiting where the policy is to wait.
            KeyServiceError: an id has the wrong version for where the key is from.
        """
        waited = 0.0
        while True:
            try:
                found = self.source.fresh(peer, size)
            except KeyShortageError:
                if self.fallback is not None:
                    return self._fallen(self.fallback, peer, size)
                if self.low == "refuse" or waited >= self.patience:
                    raise
                self.sleep(self.pause)
                waited += self.pause
            else:
                if found[0][_PLACE : _PLACE + 1] == _MARK:
                    raise KeyServiceError(f"a key with id {found[0]!r}", f"a UUID of another version than {_MARK}")
                self.given += 1
                return found

    def by_id(self, peer: str, key_id: KeyId) -> bytes:
        """The key of that id; see `KeySource`.

        Raises:
            KeyRefusedError: it is from the fallback, which this end does not allow.
        """
        if key_id[_PLACE : _PLACE + 1] != _MARK:
            key = self.source.by_id(peer, key_id)
        elif self.fallback is None:
            given = f"key {key_id} from a fallback of {peer}'s"
            raise KeyRefusedError(
                given, f"a key from {self.source.label}", "allow the fallback at both ends, or at none"
            )
        else:
            key = self.fallback.by_id(peer, _with(key_id, _USUAL))
            self.fallen += 1
        self.given += 1
        return key

    def _fallen(self, fallback: KeySource, peer: str, size: int) -> tuple[KeyId, bytes]:
        key_id, key = fallback.fresh(peer, size)
        if key_id[_PLACE : _PLACE + 1] != _USUAL:
            raise KeyServiceError(f"a key with id {key_id!r} from the fallback", f"a UUID of version {_USUAL}")
        self.given += 1
        self.fallen += 1
        return _with(key_id, _MARK), key


def _with(key_id: KeyId, version: str) -> KeyId:
    return key_id[:_PLACE] + version + key_id[_PLACE + 1 :]
