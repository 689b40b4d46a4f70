"""One half's optimiser: the arithmetic of the client engines, for a single vector."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32

from qfedfm.clients.jobs import Job, LocalOptimizer
from qfedfm.clients.optimiser import Lanes, step_
from qfedfm.core.cohort import EMPTY, State


class Stepper:
    """A vector that an optimiser moves.

    Args:
        start: where it begins.
        optimizer: the rule.
        state: of the optimiser, as `state` gives it; empty to begin anew.
    """

    def __init__(self, start: Float32[np.ndarray, " d"], optimizer: LocalOptimizer, state: State = EMPTY) -> None:
        self._optimizer = optimizer
        job = Job(0, start, (), np.zeros(0), optimizer, state=state)
        self._lanes = Lanes.of([job], optimizer, torch.device("cpu"))

    @property
    def vector(self) -> Float32[np.ndarray, " d"]:
        """Where it is."""
        return np.array(self._lanes.x[0].numpy())

    @property
    def state(self) -> State:
        """The optimiser's moments."""
        return self._lanes.state(0, self._optimizer)

    def step(self, gradient: Float[np.ndarray, " d"], rate: float) -> None:
        """One step down the gradient."""
        self._lanes.gradient[0] = torch.from_numpy(gradient.astype(np.float32))
        step_(self._lanes, np.array([rate]), self._optimizer)
