"""A round of H-FL, with the same steps as any other round: no jobs for the engine, training, evaluation, a record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from qfedfm.clients.jobs import Job, Query, Trained
from qfedfm.core.errors import DataError
from qfedfm.core.phases import phase
from qfedfm.engine.rounds import Outputs, metrics, quiet, to_evaluate
from qfedfm.engine.setting import Setting
from qfedfm.engine.state import RunState
from qfedfm.split import Federation, Played, SplitState, first, train


def start_split(setting: Setting, federation: Federation, outputs: Sequence[Outputs]) -> RunState:
    """The state before the first round; ``outputs`` answer `qfedfm.engine.rounds.untrained`."""
    with phase("wire"):
        played = first(federation)
    record = {"round": 0, **metrics(setting, {}, 0, outputs), **quiet(), **played.seen}
    return _state(federation, played.state, (record,))


def _state(federation: Federation, split: SplitState, history: tuple[Any, ...]) -> RunState:
    model = federation.whole(split.shallow, split.deep)
    return RunState(split.round, model, topology=split.arrays(), history=history)


class SplitRound:
    """What `OpenRound` is to ordinary rounds: clients, mediators and server train in `step`, on the CPU.

    Args:
        setting: of the run.
        federation: of the run.
        state: before the round.
    """

    jobs: tuple[Job, ...] = ()

    def __init__(self, setting: Setting, federation: Federation, state: RunState) -> None:
        self._setting, self._federation, self._state = setting, federation, state
        self._played = Played(SplitState.restored(state.topology, state.round, ()), {})
        self._next = state
        self._seconds = 0.0

    def charge(self, seconds: float) -> None:
        """Adds to the round's training time."""
        self._seconds += seconds

    def accept(self, trained: Trained) -> None:
        """Refuses what nobody asked for.

        Raises:
            DataError: always, as there are no jobs.
        """
        raise DataError(f"the update of client {trained.client}", "none, as this round trains by itself")

    def step(self) -> Float32[np.ndarray, " d"]:
        """The round's training; gives the next model."""
        clock = time.perf_counter()
        with phase("train"):
            self._played = train(self._federation, self._played.state)
        self._next = _state(self._federation, self._played.state, ())
        self._seconds += time.perf_counter() - clock - self._played.server_seconds
        return self._next.model

    @property
    def queries(self) -> list[Query]:
        """What is to be evaluated after `step`."""
        return to_evaluate(self._setting, self._next, self._next.round)

    def close(self, outputs: Sequence[Outputs]) -> RunState:
        """The state after the round; ``outputs`` answer `queries`."""
        played, round_ = self._played, self._next.round
        spent = {
            "client_steps": played.client_steps,
            "server_seconds": played.server_seconds,
            "train_seconds": self._seconds,
        }
        found = metrics(self._setting, {}, round_, outputs)
        record = {"round": round_, **found, **quiet(), **played.seen, **spent}
        return _state(self._federation, played.state, (*self._state.history, record))
