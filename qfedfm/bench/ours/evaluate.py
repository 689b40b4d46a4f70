"""Evaluation of the untrained model on rows of the task."""

from __future__ import annotations

import numpy as np

from qfedfm.adapters.tensors import vector_of
from qfedfm.bench.child import Laps, answer, options, startup_seconds
from qfedfm.clients.jobs import Query
from qfedfm.core.key import Key
from qfedfm.engine.environment import environment
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.machine import client_engine


def main() -> None:
    """Three times over the same rows."""
    given = options()
    experiment = Experiment.of(given["experiment"])
    task = experiment.build_task()
    engine = client_engine(experiment.engine, task)
    vector, rows = vector_of(task.model(Key.of(1))), np.arange(given["evaluate"])
    engine.outputs([Query(vector, rows[:64])])
    startup, laps = startup_seconds(given), Laps()
    for _ in range(3):
        (outputs,) = engine.outputs([Query(vector, rows)])
        float(task.metrics(outputs, rows)["accuracy"])
        laps.lap()
    answer(startup_seconds=startup, round_seconds=laps.seconds, rows=len(rows), environment=environment(engine.plan()))


if __name__ == "__main__":
    main()
