"""What a client is asked to train in a round, and what its training remembers afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from qfedfm.clients.attack import Attack
from qfedfm.clients.jobs import Job, Trained
from qfedfm.clients.schedule import batches, rates
from qfedfm.core.cohort import EMPTY, ClientId, State
from qfedfm.engine.memories import Memories
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
        models: the broadcast model of each client.
        local: the broadcast state of the local method.
        memories: what the clients remember.
        group: the number of the run among those that are trained together.
    """

    setting: Setting
    state: RunState
    models: Mapping[ClientId, Float32[np.ndarray, " d"]]
    local: State
    memories: Memories
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
        attack = setting.drawn.attack if client in setting.hostile else None
        job = Job(
            client,
            self.models[client],
            batches(rows, steps, training.batch_size, setting.key.fold("batches", self.round, client)),
            rates(training.rate, training.schedule, steps, self.round, setting.rounds),
            training.optimizer,
            self.group,
            state=self.memories.of(client, "optimizer"),
            dropout=setting.key.fold("dropout", self.round, client),
            relabel=Relabel(attack, setting.task.classes) if attack is not None else None,
        )
        job = setting.arm.local.prepare(job, self.local, self._of_method(client))
        if job.correction is not None and not job.correction.any():
            return replace(job, correction=None)  # so that it equals the job of a method without one
        return job

    def remembered(self, job: Job, trained: Trained, decoded: Float32[np.ndarray, " d"]) -> dict[str, State]:
        """What local method and optimiser carry to the client's next round, after an update that arrived."""
        keeps = self.setting.arm.training.keep_state
        kept = self.setting.arm.local.finish(job, decoded, self.local, self._of_method(job.client))
        return {"method": kept, "optimizer": trained.state if keeps else EMPTY}

    def _of_method(self, client: ClientId) -> State:
        return self.memories.of(client, "method") or self.setting.arm.local.client(self.setting.bound.layout)
