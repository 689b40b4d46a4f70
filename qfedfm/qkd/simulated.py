"""Keys that stand for those of quantum links where the links themselves are not the matter."""

from __future__ import annotations

from dataclasses import dataclass, field

from qfedfm.core.keys import KeyId, MemoryKeys, SharedMemory


@dataclass(frozen=True)
class SimulatedLinks:
    """Links between all parties of one process, whose bits come from the operating system.

    Example:
        >>> links = SimulatedLinks()
        >>> key_id, key = links.end("alice").fresh("bob", 32)
        >>> links.end("bob").by_id("alice", key_id) == key
        True
        >>> links.end("alice").label
        'simulated, not QKD-secure'
    """

    _memory: SharedMemory = field(default_factory=SharedMemory, repr=False)

    def end(self, party: str) -> SimulatedKeys:
        """The end of one party."""
        return SimulatedKeys(self._memory.end(party))


@dataclass(frozen=True)
class SimulatedKeys:
    """One party's end of `SimulatedLinks`: a `RawKeySource`, since no key is stretched from a shorter one."""

    _keys: MemoryKeys = field(repr=False)

    @property
    def label(self) -> str:
        return "simulated, not QKD-secure"

    @property
    def secret(self) -> bool:
        return self._keys.secret

    @property
    def raw(self) -> bool:
        return True

    def fresh(self, peer: str, size: int) -> tuple[KeyId, bytes]:
        return self._keys.fresh(peer, size)

    def by_id(self, peer: str, key_id: KeyId) -> bytes:
        return self._keys.by_id(peer, key_id)
