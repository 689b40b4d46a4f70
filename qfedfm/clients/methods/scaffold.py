"""SCAFFOLD: control variates against the drift of heterogeneous clients."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from jaxtyping import Float32

from qfedfm.clients.jobs import Job, LocalOptimizer
from qfedfm.clients.method import LocalMethod
from qfedfm.core.cohort import State
from qfedfm.core.errors import ConfigError
from qfedfm.core.layout import Layout
from qfedfm.core.registry import part


@part("scaffold", paper="Karimireddy et al., ICML 2020, arXiv 1910.06378, algorithm 1, option II")
@final
@dataclass(frozen=True)
class Scaffold(LocalMethod):
    """Each step is y ← y − η (g(y) − cᵢ + c), with a control c on the server and cᵢ on each client.

    After an accepted update Δᵢ (as the server decodes it) with learning rates that sum to H, for S accepted updates of
    N clients and the reduced delta Δ̄:

        cᵢ⁺ = cᵢ − c − Δᵢ/H,    c⁺ = c + (S/N)·(−c − Δ̄/H).

    The second line is the paper's c + (1/N) Σ (cᵢ⁺ − cᵢ), because cᵢ⁺ − cᵢ = −c − Δᵢ/H: no second vector travels up.
    It needs Δ̄ to be the plain mean, hence equal steps, rates and weights; after a robust reduce it is that reduce's
    estimate. −Δᵢ/H is an average of gradients only for plain SGD, hence no momentum, AdamW or clipping.

    Differs from the paper: the server derives its control from the reduced delta instead of receiving each client's
    change, so lossy layers enter the controls of both sides alike.
    """

    def check(self, optimizer: LocalOptimizer, *, equal_work: bool) -> None:
        """Refuses what the update of the controls is not derived for.

        Raises:
            ConfigError: the optimiser is not plain SGD, or the clients' steps or weights differ.
        """
        if optimizer.name != "sgd":
            raise ConfigError(f"scaffold with {optimizer.name}", "sgd", 'set optimizer.name = "sgd"')
        if optimizer.momentum:
            raise ConfigError(f"scaffold with momentum {optimizer.momentum}", "none", "set optimizer.momentum = 0")
        if optimizer.clipping_norm is not None:
            given = f"scaffold with gradients clipped at {optimizer.clipping_norm}"
            raise ConfigError(given, "gradients as they are", "remove optimizer.clipping_norm")
        if not equal_work:
            given = "scaffold with clients of different steps or weights"
            raise ConfigError(given, "the same for all", "set a fixed number of steps and equal weights")

    def server(self, layout: Layout) -> State:
        return {"control": np.zeros(layout.size, np.float32)}

    def client(self, layout: Layout) -> State:
        return {"control": np.zeros(layout.size, np.float32)}

    def prepare(self, job: Job, server: State, own: State) -> Job:
        return replace(job, correction=server["control"] - own["control"])

    def finish(self, job: Job, decoded: Float32[np.ndarray, " d"], server: State, own: State) -> State:
        change = _change(decoded, float(job.rates.sum()), server)
        return {"control": (own["control"] + change).astype(np.float32)}

    def close(
        self, reduced: Float32[np.ndarray, " d"], rates: float, accepted: int, population: int, server: State
    ) -> State:
        if not 0 <= accepted <= population or population == 0:
            raise ConfigError(f"{accepted} accepted updates of {population} clients", "no more updates than clients")
        change = _change(reduced, rates, server)
        return {"control": (server["control"] + accepted / population * change).astype(np.float32)}


def _change(delta: Float32[np.ndarray, " d"], rates: float, server: State) -> np.ndarray:
    """−c − Δ/H in float64."""
    if not (rates > 0 and math.isfinite(rates)):
        raise ConfigError(f"learning rates that sum to {rates}", "a positive sum", "raise the learning rate")
    return -server["control"].astype(np.float64) - delta.astype(np.float64) / rates
