"""The seeds of dropout in local training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int64

from qfedfm.adapters.dropout import mix
from qfedfm.clients.jobs import Job
from qfedfm.clients.passes import PassRows
from qfedfm.core.key import Key


def step_seeds(key: Key, step: int, rows: int) -> Int64[torch.Tensor, " rows"]:
    """A 64-bit seed for each row of a local step: mix(base + i), where the base comes from the key and the step.

    A row counts by its place i in the step's batch, so that one that is drawn twice is dropped in two ways.

    Args:
        key: already folded by run, round and client.
        step: the local step, from 0.
        rows: of its batch.

    Example:
        >>> bool((step_seeds(Key.of(0), 1, 3)[:2] == step_seeds(Key.of(0), 1, 2)).all())
        True
    """
    return mix(torch.arange(rows) + key.fold("dropout", step).integer())


def pass_seeds(jobs: Sequence[Job], step: int, now: PassRows) -> Int64[torch.Tensor, " rows"] | None:
    """The dropout's seed of each row of a pass over these jobs; None where nothing is dropped."""
    found = torch.zeros(now.rows.shape, dtype=torch.int64)
    for i, job in enumerate(jobs):
        if job.dropout is None:
            return None
        found[i] = step_seeds(job.dropout, step, len(job.rows[step]))[now.positions[i]]
    return found.view(-1)
