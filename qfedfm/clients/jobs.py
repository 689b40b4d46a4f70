"""What a client engine is asked to do and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32
from pydantic import ConfigDict, Field

from qfedfm.core.cohort import EMPTY, ClientId, State
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout


@dataclass(frozen=True)
class LocalOptimizer:
    """How a client steps, with the defaults and the order of operations of ``torch.optim``.

    ``sgd``: v ← βv + g, x ← x − η v, with weight decay λx added to g. ``adamw``: decoupled decay as in Loshchilov &
    Hutter (2019).

    Args:
        name: ``sgd`` or ``adamw``.
        momentum: β of SGD.
        betas: of AdamW.
        eps: of AdamW.
        weight_decay: λ.
        clipping_norm: the gradient of a client is scaled to at most this L2 norm; None leaves it.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: Literal["sgd", "adamw"] = "adamw"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clipping_norm: Annotated[float, Field(gt=0)] | None = None


@dataclass(frozen=True)
class Job:
    """The local training of one client in one round, complete: a client engine needs nothing else.

    Args:
        client: whose it is.
        start: the vector that training starts from.
        rows: for each local step the row numbers of its batch; clients may differ in steps and batch sizes.
        rates: the learning rate of each step.
        optimizer: how it steps.
        group: the run (method × seed) that it belongs to. Jobs of several runs can be trained in one call; on a CPU
            their rows never share a batch, so that a run's numbers do not depend on which others there are.
        proximal: μ of FedProx: μ (x − start) is added to the gradient.
        correction: a constant vector added to the gradient (SCAFFOLD: c − cᵢ), or None.
        state: the optimiser's state from an earlier round, empty to start anew.
        dropout: the key of the client's dropout in this round, where its adapter has any; None for none.
        relabel: what a hostile client does to its labels before training, or None.
    """

    client: ClientId
    start: Float32[np.ndarray, " d"]
    rows: tuple[np.ndarray, ...]
    rates: Float[np.ndarray, " steps"]
    optimizer: LocalOptimizer = LocalOptimizer()
    group: int = 0
    proximal: float = 0.0
    correction: Float32[np.ndarray, " d"] | None = None
    state: State = field(default_factory=lambda: EMPTY)
    dropout: Key | None = None
    relabel: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True)
class Trained:
    """What one job gave: the delta end − start, the mean batch loss of each step, the optimiser's state."""

    client: ClientId
    delta: Float32[np.ndarray, " d"]
    losses: Float[np.ndarray, " steps"]
    state: State


@dataclass(frozen=True)
class Query:
    """A model to evaluate: its vector, and the rows that its outputs are wanted for."""

    vector: Float32[np.ndarray, " d"]
    rows: np.ndarray


@runtime_checkable
class ClientEngine(Protocol):
    """Trains clients and evaluates models; the fused and the sequential one agree within float tolerance."""

    layout: Layout

    def train(self, jobs: Sequence[Job]) -> Iterator[Trained]:
        """All jobs, in their order; as many at once as the memory budget holds, and none before it is asked for."""

    def outputs(self, queries: Sequence[Query]) -> list[Float32[np.ndarray, "n classes"]]:
        """For each query the model's outputs on its rows, in their order, in float32."""

    def gradient(self, vector: Float32[np.ndarray, " d"], rows: np.ndarray) -> tuple[float, Float32[np.ndarray, " d"]]:
        """Mean loss over the rows and its gradient at ``vector``."""

    def plan(self) -> Mapping[str, str]:
        """What was chosen for this machine (device, precision, attention …), stored and repeated on resume."""
