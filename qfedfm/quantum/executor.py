"""Where a circuit runs: parameters in, outcome frequencies out, with what it cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float64, Int64

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.circuit import Circuit


@dataclass(frozen=True)
class Outcome:
    """What a batch of circuits gave.

    Args:
        probabilities: exact, or counts divided by shots; b × 2ⁿ.
        counts: how often each outcome was seen, None where the probabilities are exact.
        circuits: circuits executed.
        shots: shots taken in all of them; 0 where the probabilities are exact.
    """

    probabilities: Float64[np.ndarray, "b n"]
    counts: Int64[np.ndarray, "b n"] | None
    circuits: int
    shots: int


@runtime_checkable
class Executor(Protocol):
    """Runs a circuit with each line of parameters and measures all qubits in the computational basis."""

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        """One circuit for each line; ``key`` decides the shots of a simulation."""


@dataclass(frozen=True)
class Exact:
    """Probabilities of the ideal circuit, from its statevector."""

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        with torch.no_grad():
            probabilities = circuit.program.probabilities(torch.from_numpy(parameters)).numpy()
        return Outcome(probabilities, None, len(parameters), 0)


@dataclass(frozen=True)
class Shots:
    """Counts of the ideal circuit: multinomial draws of ``shots`` outcomes a circuit."""

    shots: int

    def __post_init__(self) -> None:
        if self.shots < 1:
            raise ConfigError(f"{self.shots} shots", "at least 1")

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        ideal = Exact().run(circuit, parameters, key).probabilities
        # multinomial refuses sums that rounding has lifted above one
        ideal = ideal / ideal.sum(axis=1, keepdims=True)
        counts = key.numpy().multinomial(self.shots, ideal)
        return Outcome(counts / self.shots, counts, len(parameters), self.shots * len(parameters))


def shots_for_error(outcomes: int, error: float, confidence: float = 0.95) -> int:
    """Shots after which no frequency is further than ``error`` from its probability: ⌈ln(2K / (1 − c)) / (2ε²)⌉.

    Hoeffding's inequality for each of the K outcomes and a union bound.

    Example:
        >>> shots_for_error(8, 0.01)
        28842
    """
    return math.ceil(math.log(2 * outcomes / (1 - confidence)) / (2 * error**2))
