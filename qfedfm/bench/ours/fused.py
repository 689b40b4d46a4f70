"""One of the client engines, without anything around it."""

from __future__ import annotations

import numpy as np
import torch

from qfedfm.adapters.tensors import vector_of
from qfedfm.bench.child import Laps, answer, options, startup_seconds
from qfedfm.bench.workload import Federation
from qfedfm.clients.jobs import ClientEngine, Job, LocalOptimizer
from qfedfm.core.phases import phase, recording
from qfedfm.engine.environment import environment
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.machine import client_engine


def main() -> None:
    """Times rounds of local training, then takes one round apart."""
    given = options()
    experiment = Experiment.of(given["experiment"])
    federation = Federation.of(given["experiment"])
    engine = client_engine(experiment.engine, federation.task)
    start = vector_of(federation.model())
    _train(engine, federation, start, 1)
    startup, laps = startup_seconds(given), Laps()
    for round_ in range(2, federation.rounds + 2):  # the first was for warming up
        _train(engine, federation, start, round_)
        laps.lap()
    answer(
        startup_seconds=startup,
        round_seconds=laps.seconds,
        client_steps=federation.client_steps,
        overhead=_overhead(engine, federation, start) if given["take_apart"] else None,
        environment=environment(engine.plan()),
    )


def _train(engine: ClientEngine, federation: Federation, start: np.ndarray, round_: int) -> None:
    rates = np.full(federation.steps, federation.rate)
    jobs = [
        Job(client, start, federation.rows(round_, client), rates, LocalOptimizer()) for client in federation.clients
    ]
    for _ in engine.train(jobs):
        pass


def _overhead(engine: ClientEngine, federation: Federation, start: np.ndarray) -> float:
    """The share of training that is neither forward nor backward."""
    synchronize = torch.cuda.synchronize if engine.plan()["device"].startswith("cuda") else None
    with recording(synchronize) as recorder, phase("train"):
        _train(engine, federation, start, 1)
    passes = recorder.seconds("forward") + recorder.seconds("backward")
    return 1 - passes / recorder.seconds("train")


if __name__ == "__main__":
    main()
