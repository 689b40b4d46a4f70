"""A random frozen Born circuit: what is left when nothing is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import ClientId, Cohort, Reduced, State
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import Law, Reduce, ServerAt
from qfedfm.core.registry import part
from qfedfm.core.sums import weighted_sum
from qfedfm.quantum.ansatz import born_parameters, qubits_for
from qfedfm.quantum.executor import ExecutorField
from qfedfm.reduces.born import Born
from qfedfm.reduces.client_weights import problem_of
from qfedfm.reduces.running import runner


@part(
    "born-random",
    paper="Bowles, Ahmed & Schuld 2024, arXiv 2403.07059 (the control)",
    quantum=True,
    control_of="born",
)
@final
@dataclass(frozen=True)
class BornRandom(Reduce):
    """Σ_k w_k Δ_k with w_k ∝ n_k |⟨k|U(θ)|0⟩|², θ drawn once, uniform on [0, 2π), and never trained.

    Sees no validation data.

    Args:
        layers: of `born_circuit` with the entangler of `Born`.
        shots: with which the probabilities are measured each round; None for exact ones.
        executor: where the circuit runs, in the place of ``shots``.
        seed: of the angles.

    Raises:
        ConfigError: a number below 1, or both ``shots`` and ``executor``.
        StackError: (in `reduce`) a client is not in the population.
    """

    per_client = True
    laws = Reduce.laws | {Law.TRANSLATION, Law.CONVEX}

    layers: Annotated[int, Field(ge=1)] = 3
    shots: Annotated[int, Field(ge=1)] | None = None
    executor: ExecutorField | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        runner(self.name, self.shots, self.executor)

    def init(self, layout: Layout, population: tuple[ClientId, ...]) -> State:
        rng = Key.of(self.seed).fold("born-random").numpy()
        theta = rng.uniform(0, 2 * math.pi, born_parameters(qubits_for(len(population)), self.layers))
        return {"theta": theta, "population": np.array(sorted(population), np.int64)}

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        problem, order = problem_of(self.name, cohort, state, np.ones(cohort.n, bool))
        model = Born(layers=self.layers, shots=self.shots, executor=self.executor)
        key = at.key.fold("learned weights", at.round)
        point = model.probabilities(state["theta"], len(state["population"]), key)
        weights = np.empty(cohort.n)
        weights[order] = problem.weights(point.probabilities)
        diagnostics = {**point.cost.diagnostics(), "reduce_parameters": 0.0}
        return Reduced(weighted_sum(weights, cohort.X), weights, diagnostics=diagnostics), state
