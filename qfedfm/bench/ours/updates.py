"""Records what the clients of a federated run send: the deltas of each round of the mean, with their layout."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from qfedfm.adapters.tensors import vector_of
from qfedfm.bench.child import answer, options
from qfedfm.bench.sources import record
from qfedfm.bench.workload import Federation
from qfedfm.clients.jobs import ClientEngine, Job, LocalOptimizer
from qfedfm.engine.environment import environment
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.machine import client_engine


def main() -> None:
    """Every client of every round, into the folder that is given."""
    given = options()
    federation = Federation.of(given["experiment"])
    engine = client_engine(Experiment.of(given["experiment"]).engine, federation.task)
    found = deltas(engine, federation)
    record(given["folder"], engine.layout, found)
    answer(updates=len(found), size=engine.layout.size, environment=environment(engine.plan()))


def deltas(engine: ClientEngine, federation: Federation) -> list[Float32[np.ndarray, " d"]]:
    """What the clients of all rounds trained, round by round; between rounds the model moves by their weighted mean."""
    start, found = vector_of(federation.model()), []
    weights = np.array([federation.samples(client) for client in federation.clients], np.float32)
    for round_ in range(1, federation.rounds + 1):
        rates = np.full(federation.steps, federation.rate)
        jobs = [
            Job(client, start, federation.rows(round_, client), rates, LocalOptimizer())
            for client in federation.clients
        ]
        trained = [one.delta for one in engine.train(jobs)]
        start = start + np.average(trained, axis=0, weights=weights).astype(np.float32)
        found += trained
    return found


if __name__ == "__main__":
    main()
