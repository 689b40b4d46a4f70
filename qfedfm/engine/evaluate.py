"""How good a model is: for everyone together and for each client."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32

from qfedfm.clients.jobs import ClientEngine, Query
from qfedfm.tasks.protocol import Split, Task


def evaluate(engine: ClientEngine, task: Task, split: Split, model: Float32[np.ndarray, " d"]) -> dict[str, Any]:
    """The task's metrics on the union of the test sets, and each client's accuracy.

    ``worst_client`` is the lowest of the clients' accuracies, ``spread`` their standard deviation.
    """
    with np.errstate(all="ignore"):  # the outputs of a model that has diverged overflow
        return _evaluate(engine, task, split, model)


def _evaluate(engine: ClientEngine, task: Task, split: Split, model: Float32[np.ndarray, " d"]) -> dict[str, Any]:
    clients = [client for client in split.clients if len(split.test[client])]
    rows = np.concatenate([split.test[client] for client in clients])
    (outputs,) = engine.outputs([Query(model, rows)])
    accuracies, begin = {}, 0
    for client in clients:
        end = begin + len(split.test[client])
        accuracies[str(client)] = float(task.metrics(outputs[begin:end], rows[begin:end])["accuracy"])
        begin = end
    values = np.array(list(accuracies.values()))
    return {
        **{name: float(value) for name, value in task.metrics(outputs, rows).items()},
        "client_accuracy": accuracies,
        "worst_client": float(values.min()),
        "spread": float(values.std()),
    }
