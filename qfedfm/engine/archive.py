"""Where one run's checkpoints and its clients' states lie: the last state, and the one before it.

Runs that are played together are checkpointed one after the other. After an interruption between two of these, some are
a round ahead; they go back to the state before, so that the round is repeated by all of them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qfedfm.core.errors import CheckpointError
from qfedfm.engine.clientstates import OnDisk
from qfedfm.engine.files import writing
from qfedfm.engine.state import RunState, load, save


@dataclass(frozen=True)
class Archive:
    """The files of one run.

    Args:
        path: the checkpoint; the one before it lies beside it, with ``.before`` at the end.
        states: the clients' own states.
        identity: which run this is, compared when a file is read.
    """

    path: Path
    states: OnDisk
    identity: Mapping[str, Any]

    @property
    def _before(self) -> Path:
        return self.path.with_name(self.path.name + ".before")

    def load(self) -> RunState | None:
        """The last state, or None.

        Raises:
            CheckpointError: the file cannot be read.
        """
        with writing(self.path):
            if not self.path.exists() and self._before.exists():
                self._before.replace(self.path)  # `save` was interrupted between its two steps
        return self._read(self.path)

    def save(self, state: RunState) -> None:
        """Keeps a state; the last one becomes the one before."""
        with writing(self.path):
            if self.path.exists():
                self.path.replace(self._before)
        save(self.path, state, self.identity)

    def step_back(self, state: RunState) -> RunState | None:
        """Gives up the last state for the one before: None before the first round, ``state`` where it was not kept."""
        if state.round == 1:
            with writing(self.path):
                self.path.unlink()
            return None
        before = self._read(self._before)
        if before is None or before.round != state.round - 1:
            return state
        with writing(self.path):
            self._before.replace(self.path)
        return before

    def _read(self, path: Path) -> RunState | None:
        try:
            return load(path, self.identity) if path.exists() else None
        except OSError as error:
            remedy = "remove it to start this run anew, or choose another --out"
            raise CheckpointError(f"{path} cannot be read ({error.strerror})", "a checkpoint", remedy) from None
