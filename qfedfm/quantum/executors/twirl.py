"""Pauli twirling of two-qubit gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.counts import frequencies
from qfedfm.quantum.executor import Outcome
from qfedfm.quantum.wrapper import Wrapper

_SEEDS = 2**31


@part("twirl", paper="Wallman & Emerson, PRA 94, 052325 (2016), arXiv 1512.01098 (randomized compiling)")
@final
@dataclass(frozen=True)
class Twirl(Wrapper):
    """The mean over ``instances`` circuits with random Paulis around CX, CZ and ECR gates, which ideally cancel.

    Coherent errors of those gates become stochastic Pauli errors, which do not add up in phase and which extrapolation
    (``zne``) describes better. Twirling changes no mean error by itself; it costs ``instances`` times the circuits.
    The Paulis are drawn anew in each run, from the key, by Qiskit's `pauli_twirl_2q_gates`.

    Args:
        inner: where the circuits run.
        instances: how many.

    Raises:
        ConfigError: fewer than one.

    Differs from the paper: single-qubit gates are merged by the transpiler of the executor inside, and gates that a
    device's wiring adds are not twirled.
    """

    instances: Annotated[int, Field(ge=1)] = 8

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        from qiskit.circuit import pauli_twirl_2q_gates

        seed = key.fold("twirl").integer() % _SEEDS
        twirled = pauli_twirl_2q_gates(circuit.qiskit, seed=seed, num_twirls=self.instances)
        found = [self.inner.run(Circuit(one), parameters, key.fold("instance", i)) for i, one in enumerate(twirled)]
        counts = [outcome.counts for outcome in found if outcome.counts is not None]
        circuits, seconds = sum(o.circuits for o in found), sum(o.device_seconds for o in found)
        if len(counts) == len(found):
            together = frequencies(sum(counts[1:], counts[0]), found[0].column, seconds)
            return Outcome(together.probabilities, together.counts, circuits, together.shots, found[0].column, seconds)
        mean = np.mean([outcome.probabilities for outcome in found], axis=0)
        shots, bias = sum(o.shots for o in found), max(o.bias for o in found)
        return Outcome(mean, None, circuits, shots, found[0].column, seconds, bias)
