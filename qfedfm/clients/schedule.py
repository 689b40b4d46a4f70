"""Which rows a client trains on in a round, and with which learning rates."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Float

from qfedfm.core.key import Key

Schedule = Literal["constant", "linear", "cosine"]


def batches(rows: np.ndarray, steps: int, batch_size: int, key: Key) -> tuple[np.ndarray, ...]:
    """``steps`` batches of row numbers: shuffled passes over ``rows``, one after the other.

    A client with fewer rows than a batch trains on all of them in each step.
    """
    size = min(batch_size, len(rows))
    needed = steps * size
    passes = [key.fold(number).numpy().permutation(rows) for number in range(math.ceil(needed / len(rows)))]
    order = np.concatenate(passes)[:needed]
    return tuple(order[start : start + size] for start in range(0, needed, size))


def rates(rate: float, schedule: Schedule, steps: int, round_: int, rounds: int) -> Float[np.ndarray, " steps"]:
    """The learning rate of each local step of round ``round_`` (counted from 1) of ``rounds``.

    With s the position of a step in all rounds × steps, in [0, 1): constant η; linear η (1 − s); cosine
    η (1 + cos πs) / 2.
    """
    position = ((round_ - 1) * steps + np.arange(steps)) / (rounds * steps)
    factor = {
        "constant": np.ones(steps),
        "linear": 1.0 - position,
        "cosine": (1.0 + np.cos(np.pi * position)) / 2.0,
    }[schedule]
    return np.asarray(rate * factor, np.float64)
