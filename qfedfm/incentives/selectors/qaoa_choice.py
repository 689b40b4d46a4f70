"""Invitations by the quantum approximate optimisation algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from pydantic import Field

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.incentives.choice import ChoiceSelector
from qfedfm.quantum.executor import ExecutorField
from qfedfm.quantum.executors.ideal import Shots
from qfedfm.quantum.qaoa import Quadratic
from qfedfm.reduces.choice import Choice
from qfedfm.reduces.qaoa_selection import MOST_CLIENTS, AnyMixer, measured_choice


@part(
    "qaoa-choice",
    paper="Ferenczi et al., arXiv 2511.02785 (the problem); Hadfield et al., Algorithms 12, 34 (2019) (XY mixer)",
    quantum=True,
    twins=("exact-choice", "annealed-choice", "greedy-choice"),
)
@final
@dataclass(frozen=True)
class QaoaChoice(ChoiceSelector):
    """`ChoiceSelector` by the circuit of `QaoaSelection`: a qubit for each candidate, up to 16.

    The angles are trained by a simulation in every round, ``steps`` + 1 circuits, which takes a core less than a second
    for 10 candidates, two for 12 and up to a minute for 16; then the circuit is measured
    ``shots`` times, and the best choice of the right size that was seen is taken. Where noise shows none, candidates at
    random are. With as many shots as there are choices, drawing at random finds the best one as well: compare
    ``selector_approximation_ratio``, of the whole distribution, with ``selector_random_ratio``.

    ```toml
    [participation]
    clients_per_round = 4

    [compare.qaoa]
    selector = { name = "qaoa-choice", candidates = 10, depth = 2 }

    [compare.exact]
    selector = { name = "exact-choice", candidates = 10 }
    ```

    Args:
        reward: β, of clients whose updates agreed with the aggregate.
        redundancy: λ, against clients whose updates resemble each other.
        exposure: ε, of clients that have waited long.
        candidates: clients that are considered in a round.
        depth: p, layers of phase and mixer.
        mixer: ``ring`` or ``complete`` (XY), or ``x`` with a penalty.
        steps: of the angles' descent.
        shots: of the final circuit.
        executor: where the final circuit runs, in the place of ``shots``.

    Raises:
        ConfigError: a field is out of range, or (in `check`) a round invites more clients than are considered.

    Differs from the paper: it chooses among updates that were sent already, here it is decided who will be asked; so
    reward and redundancy come from the sketched updates of earlier rounds. The number of ones is kept by the mixer
    instead of a penalty, and the turn of those who waited (exposure) is added.
    """

    candidates: Annotated[int, Field(ge=1, le=MOST_CLIENTS)] = 10
    depth: Annotated[int, Field(ge=1)] = 2
    mixer: AnyMixer = "ring"
    steps: Annotated[int, Field(ge=0)] = 40
    shots: Annotated[int, Field(ge=1)] = 64
    executor: ExecutorField | None = None

    def choose(self, problem: Quadratic, size: int, key: Key) -> Choice:
        first, executor = np.arange(problem.n) < size, self.executor or Shots(self.shots)
        return measured_choice(problem, size, key, self.depth, self.mixer, self.steps, executor, first)
