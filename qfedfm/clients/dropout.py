"""The seeds of dropout in local training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64

from qfedfm.adapters.dropout import mix
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


def pass_seeds(
    keys: Sequence[Key | None], step: int, sizes: Sequence[int], positions: Int64[np.ndarray, "m b"]
) -> Int64[torch.Tensor, " rows"] | None:
    """The seeds of the rows of a pass, lane by lane; None where nothing is dropped.

    Args:
        keys: of each lane; either all have one or none has.
        step: the local step, the same for all lanes.
        sizes: rows of each lane's batch.
        positions: the place of each row of the pass in its lane's batch; any for filling.
    """
    seeds = [
        step_seeds(key, step, size)[torch.from_numpy(np.minimum(places, size - 1))]
        for key, size, places in zip(keys, sizes, positions, strict=True)
        if key is not None
    ]
    return torch.cat(seeds) if seeds else None
