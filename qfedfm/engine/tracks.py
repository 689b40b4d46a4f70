"""Runs that are played together: where each of them is, and the waves in which they go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from qfedfm.clients.jobs import ClientEngine
from qfedfm.core.errors import CheckpointError
from qfedfm.engine.archive import Archive
from qfedfm.engine.clientstates import Version
from qfedfm.engine.setting import Setting
from qfedfm.engine.state import RunState, superseded
from qfedfm.engine.waves import begin, play_wave


@dataclass
class Track:
    """One run and how far it is.

    Args:
        name: what it is called in messages: the method.
        seed: its seed.
        setting: what stays the same over its rounds.
        archive: where its checkpoints lie.
        state: after its last finished round; None before it has begun.
    """

    name: str
    seed: int
    setting: Setting
    archive: Archive
    state: RunState | None = None
    _stale: list[Version] = field(default_factory=list)

    @property
    def round(self) -> int:
        """Rounds that are finished."""
        return 0 if self.state is None else self.state.round

    @property
    def finished(self) -> bool:
        """Whether there is no round left."""
        return self.round == self.setting.rounds

    @property
    def current(self) -> RunState:
        """The state of a run that has begun."""
        if self.state is None:
            raise CheckpointError(f"{self.name} seed {self.seed}, which has not begun", "a run that has begun")
        return self.state

    def advance(self, state: RunState) -> None:
        """Keeps the state after one more round.

        The client states that it replaced stay one round longer, for the checkpoint before.
        """
        self.archive.save(state)
        self.archive.states.remove(self._stale)
        self._stale = superseded(self.current, state)
        self.state = state


def line_up(tracks: Sequence[Track]) -> None:
    """Reads what is kept and takes all runs that are one round ahead of the last back to its round.

    So a round that was interrupted while its checkpoints were written is repeated by all of its runs: on a device
    where their rows share a batch, the others would not come to the same bits without them. A run that is further
    ahead (because a checkpoint was deleted by hand) waits until the others have caught up.
    """
    for track in tracks:
        track.state = track.archive.load()
    last = min((track.round for track in tracks), default=0)
    for track in tracks:
        if track.state is not None and track.round == last + 1:
            track.state = track.archive.step_back(track.state)
        versions = set() if track.state is None else set(track.state.clients.items())
        track.archive.states.keep_only(versions)


def start_all(engine: ClientEngine, tracks: Sequence[Track]) -> list[Track]:
    """Begins the runs that have no state yet, and gives them."""
    new = [track for track in tracks if track.state is None]
    for track, state in zip(new, begin(engine, [track.setting for track in new]), strict=True):
        track.state = state
    return new


def waves(engine: ClientEngine, tracks: Sequence[Track]) -> Iterator[list[tuple[Track, RunState]]]:
    """Plays all runs to their end, those with the fewest rounds first; each wave is to be kept before the next."""
    while waiting := [track for track in tracks if not track.finished]:
        last = min(track.round for track in waiting)
        playing = [track for track in waiting if track.round == last]
        states = play_wave(engine, [(track.setting, track.current) for track in playing])
        yield list(zip(playing, states, strict=True))
