"""The labels that clients train on."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from qfedfm.clients.jobs import Job
from qfedfm.tasks.protocol import Task


def trained_labels(job: Job, rows: np.ndarray, task: Task) -> Int64[np.ndarray, " n"]:
    """The labels that a client trains on: those of the rows, or what a hostile client makes of them."""
    labels = task.labels()[rows]
    return labels if job.relabel is None else np.asarray(job.relabel(labels))
