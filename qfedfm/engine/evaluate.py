"""How good a model is: for everyone together and for each client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from qfedfm.core.cohort import ClientId
from qfedfm.tasks.protocol import Split, Task


@dataclass(frozen=True)
class Tested:
    """The test sets of a split, end to end.

    Args:
        clients: those that have test rows, ascending.
        rows: all test rows, client after client.
        ends: where each client's rows end in ``rows``.
    """

    clients: tuple[ClientId, ...]
    rows: np.ndarray
    ends: tuple[int, ...]

    @classmethod
    def of(cls, split: Split) -> Tested:
        """The test sets of a split in which at least one client has test rows."""
        clients = tuple(client for client in split.clients if len(split.test[client]))
        parts = [split.test[client] for client in clients]
        return cls(clients, np.concatenate(parts), tuple(np.cumsum([len(part) for part in parts]).tolist()))

    def together(self, members: Mapping[ClientId, int]) -> list[tuple[tuple[ClientId, ...], np.ndarray]]:
        """Clients of one cluster, those of none first, with the places of their rows in ``rows``."""
        places = np.split(np.arange(len(self.rows)), self.ends[:-1])
        found: dict[int, list[int]] = {}
        for number, client in enumerate(self.clients):
            found.setdefault(members.get(client, -1), []).append(number)
        return [
            (tuple(self.clients[number] for number in numbers), np.concatenate([places[number] for number in numbers]))
            for _, numbers in sorted(found.items())
        ]

    def in_order(
        self, members: Mapping[ClientId, int], outputs: Sequence[Float32[np.ndarray, "_ classes"]]
    ) -> Float32[np.ndarray, "n classes"]:
        """The outputs for all rows, from those for the rows of each cluster."""
        whole = np.empty((len(self.rows), outputs[0].shape[1]), outputs[0].dtype)
        for (_, places), part in zip(self.together(members), outputs, strict=False):
            whole[places] = part
        return whole


def judge(task: Task, tested: Tested, outputs: Float32[np.ndarray, "n classes"]) -> dict[str, Any]:
    """The task's metrics on the union of the test sets, and each client's accuracy.

    ``worst_client`` is the lowest of the clients' accuracies, ``spread`` their standard deviation.
    """
    with np.errstate(all="ignore"):  # the outputs of a model that has diverged overflow
        accuracies, begin = {}, 0
        for client, end in zip(tested.clients, tested.ends, strict=True):
            accuracies[str(client)] = accuracy(task, tested.rows[begin:end], outputs[begin:end])
            begin = end
        values = np.array(list(accuracies.values()))
        return {
            **{name: float(value) for name, value in task.metrics(outputs, tested.rows).items()},
            "client_accuracy": accuracies,
            "worst_client": float(values.min()),
            "spread": float(values.std()),
        }


def accuracy(task: Task, rows: np.ndarray, outputs: Float32[np.ndarray, "n classes"]) -> float:
    """The accuracy on some rows."""
    with np.errstate(all="ignore"):
        return float(task.metrics(outputs, rows)["accuracy"])


def mean_loss(task: Task, rows: np.ndarray, outputs: Float32[np.ndarray, "n classes"]) -> float:
    """The mean of the task's losses on some rows, as `ClientEngine.gradient` gives it up to rounding."""
    labels = torch.from_numpy(task.labels()[rows])
    return float(task.losses(torch.from_numpy(outputs), labels).mean())
