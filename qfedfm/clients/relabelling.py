"""The labels that hostile clients train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from qfedfm.clients.jobs import Job
from qfedfm.tasks.protocol import Task


def relabelled(jobs: Sequence[Job], step: int, task: Task) -> Mapping[int, torch.Tensor]:
    """The changed labels of a step, by position in the rows of all jobs end to end; empty where nobody changes any."""
    found: dict[int, torch.Tensor] = {}
    first = 0
    for job in jobs:
        rows = job.rows[step]
        if job.relabel is not None:
            labels = torch.from_numpy(np.asarray(job.relabel(task.labels()[rows])))
            found |= {first + i: label for i, label in enumerate(labels)}
        first += len(rows)
    return found
