"""Where a circuit runs: parameters in, outcome frequencies out, with what it cost."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

import numpy as np
from jaxtyping import Float64, Int64
from pydantic import BeforeValidator, InstanceOf

from qfedfm.core.key import Key
from qfedfm.core.parts import Law, Part
from qfedfm.core.registry import build
from qfedfm.quantum.circuit import Circuit

Column = Literal["exact", "shots", "noise", "mitigated", "device"]
"""The columns that results are kept apart in, each further from the ideal circuit than the one before, but for
``mitigated``, which is a way back."""
COLUMNS: tuple[Column, ...] = get_args(Column)


@dataclass(frozen=True)
class Outcome:
    """What a batch of circuits gave.

    Args:
        probabilities: exact, or counts divided by shots, or an estimate of them; b × 2ⁿ, lines on the simplex.
        counts: how often each outcome was seen, None where there are no counts or something was computed from them.
        circuits: circuits executed.
        shots: shots taken in all of them; 0 where the probabilities are exact.
        column: where the results belong.
        device_seconds: that a device took, or 0.
        bias: by how much the projection onto the simplex moved estimates, as total variation, the mean over the lines;
            0 where none was needed, and a bound where what was projected went into another estimate.
    """

    probabilities: Float64[np.ndarray, "b n"]
    counts: Int64[np.ndarray, "b n"] | None
    circuits: int
    shots: int
    column: Column = "exact"
    device_seconds: float = 0.0
    bias: float = 0.0


@dataclass(frozen=True)
class Demand:
    """The most that a run can take, known before it."""

    circuits: int
    shots: int

    def __add__(self, other: Demand) -> Demand:
        return Demand(self.circuits + other.circuits, self.shots + other.shots)

    def times(self, repetitions: int) -> Demand:
        """That many such runs.

        Example:
            >>> Demand(2, 200).times(3)
            Demand(circuits=6, shots=600)
        """
        return Demand(self.circuits * repetitions, self.shots * repetitions)


class Executor(Part):
    """Runs a circuit with each line of parameters and measures all qubits in the computational basis."""

    kind = "executor"
    laws = frozenset({Law.SAME_KEY})

    @abc.abstractmethod
    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        """One circuit for each line; ``key`` decides the shots of a simulation.

        Raises:
            ConfigError: the number of parameters is not the circuit's.
        """

    def demand(self, lines: int) -> Demand:
        """The most circuits and shots that a run with so many lines of parameters takes.

        Of an executor without a field ``shots``, or with None in it, no shots.
        """
        return Demand(lines, lines * (getattr(self, "shots", None) or 0))

    def calibration_demand(self) -> Demand:
        """The most that a calibration takes."""
        return self.demand(2)

    def calibration(self, circuit: Circuit, key: Key) -> Outcome:
        """|0…0⟩ and |1…1⟩, a line each, prepared and measured on the qubits where ``circuit`` is measured."""
        return self.run(flips(circuit.qubits), FLIPPED, key)


@lru_cache(maxsize=32)
def flips(qubits: int) -> Circuit:
    """A rotation of every qubit about x by the one parameter: 0 leaves all as they are, π flips them."""
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter

    circuit = QuantumCircuit(qubits, name=f"flips-{qubits}")
    circuit.rx(Parameter("angle"), range(qubits))
    return Circuit(circuit)


FLIPPED = np.array([[0.0], [math.pi]])
"""The parameters of `flips` for a calibration."""


def configured(value: Any) -> Any:
    """The executor of a configuration (a name, or a table of its name and options); anything else as it is."""
    return build(Executor.kind, value) if isinstance(value, str | Mapping) else value


ExecutorField = Annotated[InstanceOf[Executor], BeforeValidator(configured)]
"""The type of a part's field that holds an executor, given as one, by name, or as a table."""


def shots_for_error(outcomes: int, error: float, confidence: float = 0.95) -> int:
    """Shots after which no frequency is further than ``error`` from its probability: ⌈ln(2K / (1 − c)) / (2ε²)⌉.

    Hoeffding's inequality for each of the K outcomes and a union bound.

    Example:
        >>> shots_for_error(8, 0.01)
        28842
    """
    return math.ceil(math.log(2 * outcomes / (1 - confidence)) / (2 * error**2))
