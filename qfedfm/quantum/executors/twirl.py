"""Pauli twirling of two-qubit gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Demand, Outcome
from qfedfm.quantum.wrapper import Wrapper, together

_SEEDS = 2**31


@part("twirl", paper="Wallman & Emerson, PRA 94, 052325 (2016), arXiv 1512.01098 (randomized compiling)")
@final
@dataclass(frozen=True)
class Twirl(Wrapper):
    """The mean over ``instances`` circuits with random Paulis around CX, CZ, ECR and iSWAP gates, which ideally cancel.

    Coherent errors of those gates become stochastic Pauli errors, which do not add up in phase and which extrapolation
    (``zne``) describes better. Twirling changes no mean error by itself; it costs ``instances`` times the circuits.
    The Paulis are drawn anew in each run, from the key, by Qiskit's `pauli_twirl_2q_gates`: mitiq's twirling has the
    same table, but needs numbers for the parameters and draws from a generator that is global. Counts are added up, so
    that errors of the readout can still be corrected. Other gates, such as RZZ, stay as they are: a circuit without
    one of the four runs ``instances`` times for nothing.

    Args:
        inner: where the circuits run.
        instances: how many.

    Raises:
        ConfigError: fewer than one, or an executor inside projects what it gives.

    Differs from the paper: single-qubit gates are merged by the transpiler of the executor inside, and gates that a
    device's wiring adds are not twirled.
    """

    senseless: ClassVar[dict[str, str]] = {
        name: f"which projects each instance by itself: put 'twirl' inside of {name!r}" for name in ("readout", "zne")
    } | {"twirl": "which has twirled the same gates"}

    instances: Annotated[int, Field(ge=1)] = 8

    def demand(self, lines: int) -> Demand:
        return self.inner.demand(lines).times(self.instances)

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        from qiskit.circuit import pauli_twirl_2q_gates

        seed = key.fold("twirl").integer() % _SEEDS
        twirled = pauli_twirl_2q_gates(circuit.qiskit, seed=seed, num_twirls=self.instances)
        found = [
            self.inner.run(circuit.variant(one), parameters, key.fold("instance", i)) for i, one in enumerate(twirled)
        ]
        column, counts = found[0].column, [outcome.counts for outcome in found if outcome.counts is not None]
        if len(counts) == len(found):
            summed = np.sum(counts, axis=0)
            return together(found, summed / summed.sum(axis=1, keepdims=True), summed, column=column)
        mean = np.mean([outcome.probabilities for outcome in found], axis=0)
        return together(found, mean, column=column, bias=float(np.mean([outcome.bias for outcome in found])))
