"""What a client is asked to train in a round, and what it remembers afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from qfedfm.clients.attack import Attack
from qfedfm.clients.jobs import Job, Trained
from qfedfm.core.cohort import EMPTY, ClientId, State
from qfedfm.engine.schedule import batches, rates
from qfedfm.engine.setting import Setting
from qfedfm.engine.state import RunState


@dataclass(frozen=True)
class Relabel:
    """What an attack does to labels: equal for equal attacks, so that equal jobs can be told."""

    attack: Attack
    classes: int

    def __call__(self, labels: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        return self.attack.relabel(labels, self.classes)


@dataclass(frozen=True)
class Assignment:
    """What all clients of a round have received.

    Args:
        setting: of the run.
        state: before the round.
        model: the broadcast model.
        local: the broadcast state of the local method.
        group: the number of the run among those that are trained together.
    """

    setting: Setting
    state: RunState
    model: Float32[np.ndarray, " d"]
    local: State
    group: int = 0

    @property
    def round(self) -> int:
        """The round that is played."""
        return self.state.round + 1

    def job(self, client: ClientId) -> Job:
        """The client's training, with the local method's term in it."""
        setting, training = self.setting, self.setting.arm.training
        rows = setting.split.train[client]
        steps = training.steps_for(len(rows))
        own = self._own(client)
        attack = setting.drawn.attack if client in setting.hostile else None
        job = Job(
            client,
            self.model,
            batches(rows, steps, training.batch_size, setting.key.fold("batches", self.round, client)),
            rates(training.rate, training.schedule, steps, self.round, setting.rounds),
            training.optimizer,
            self.group,
            state=_below(own, "optimizer/"),
            dropout=setting.key.fold("dropout", self.round, client),
            relabel=Relabel(attack, setting.task.classes) if attack is not None else None,
        )
        job = setting.arm.local.prepare(job, self.local, self._of_method(own))
        if job.correction is not None and not job.correction.any():
            return replace(job, correction=None)  # so that it equals the job of a method without one
        return job

    def remember(self, job: Job, trained: Trained, decoded: Float32[np.ndarray, " d"]) -> bool:
        """Keeps what the client carries to its next round, after an update that arrived; whether there is anything."""
        setting, own = self.setting, self._own(job.client)
        kept = setting.arm.local.finish(job, decoded, self.local, self._of_method(own))
        memory = {f"method/{name}": value for name, value in kept.items()}
        if setting.arm.training.keep_state:
            memory |= {f"optimizer/{name}": value for name, value in trained.state.items()}
        if memory:
            setting.states.write((job.client, self.round), memory)
        return bool(memory)

    def _own(self, client: ClientId) -> State:
        made = self.state.clients.get(client)
        return EMPTY if made is None else self.setting.states.read((client, made))

    def _of_method(self, own: State) -> State:
        return _below(own, "method/") or self.setting.arm.local.client(self.setting.bound.layout)


def _below(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
