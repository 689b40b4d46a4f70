"""What clients remember from round to round: read when a client is invited, never all at once.

A state is written once, under the client and the round that made it, and never changed. A `RunState` names the versions
that it refers to, so that the state of an earlier round stays whole while the next one is under way.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from qfedfm.core.cohort import ClientId, State
from qfedfm.core.errors import CheckpointError
from qfedfm.engine.files import writing
from qfedfm.engine.sealed import read_sealed, write_sealed

Version = tuple[ClientId, int]
"""A client, and the round in which its state was made."""

_NAME = re.compile(r"(?P<partial>\.)?(?P<client>\d+)-(?P<round>\d+)\.safetensors(?(partial)\.partial)")
_REMEDY = "restore it, or delete the checkpoints of this run to start it anew"


@runtime_checkable
class ClientStates(Protocol):
    """Where the clients' own states of one run lie."""

    def read(self, version: Version) -> State:
        """The state that a client had after a round."""

    def write(self, version: Version, state: State) -> None:
        """Keeps a state; replaces one that an interrupted attempt at the same round left."""

    def remove(self, versions: Iterable[Version]) -> None:
        """Forgets states that nothing refers to any more."""

    def keep_only(self, versions: Container[Version]) -> None:
        """Forgets all other states, such as those of a round that was interrupted."""


@dataclass(frozen=True)
class InMemory:
    """Client states of a run that is played in memory."""

    states: dict[Version, State] = field(default_factory=dict)

    def read(self, version: Version) -> State:
        return self.states[version]

    def write(self, version: Version, state: State) -> None:
        self.states[version] = state

    def remove(self, versions: Iterable[Version]) -> None:
        for version in versions:
            self.states.pop(version, None)

    def keep_only(self, versions: Container[Version]) -> None:
        self.remove([version for version in self.states if version not in versions])


@dataclass(frozen=True)
class OnDisk:
    """Client states as files ``<client>-<round>.safetensors``.

    Args:
        folder: where they lie.
        identity: which run they belong to.
    """

    folder: Path
    identity: Mapping[str, Any]

    def _path(self, version: Version) -> Path:
        client, round_ = version
        return self.folder / f"{client}-{round_}.safetensors"

    def read(self, version: Version) -> State:
        """The state that a client had after a round.

        Raises:
            CheckpointError: it is gone, damaged or of another run.
        """
        path, (client, round_) = self._path(version), version
        try:
            return read_sealed(path, {**self.identity, "client": client, "round": round_}, _REMEDY)[0]
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror})", "a client's state", _REMEDY) from None

    def write(self, version: Version, state: State) -> None:
        client, round_ = version
        write_sealed(self._path(version), state, {}, {**self.identity, "client": client, "round": round_})

    def remove(self, versions: Iterable[Version]) -> None:
        with writing(self.folder):
            for version in versions:
                self._path(version).unlink(missing_ok=True)

    def keep_only(self, versions: Container[Version]) -> None:
        with writing(self.folder):
            for path in self.folder.glob("*"):
                found = _NAME.fullmatch(path.name)
                if found and (found["partial"] or (int(found["client"]), int(found["round"])) not in versions):
                    path.unlink()
