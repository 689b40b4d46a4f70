"""Executors with errors of which the closed form is known."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from qiskit.quantum_info import DensityMatrix

from qfedfm.core.key import Key
from qfedfm.quantum.ansatz import born_circuit
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.counts import frequencies
from qfedfm.quantum.executor import Executor, Outcome
from qfedfm.quantum.executors.ideal import Exact, Shots

CIRCUIT = Circuit(born_circuit(2, 2))
THETA = np.random.default_rng(5).uniform(-3, 3, (3, 6))
IDEAL = Exact().run(CIRCUIT, THETA, Key.of(0)).probabilities
FLIPS = ((0.02, 0.15), (0.10, 0.05))
"""P(read 1 | 0) and P(read 0 | 1) of qubits 0 and 1."""


def channel() -> np.ndarray:
    """Row a: with which probabilities the outcomes are read where a was."""
    zero, one = (np.array([[1 - up, up], [down, 1 - down]]) for up, down in FLIPS)
    return np.kron(one, zero)  # qubit 0 is the least significant bit


@dataclass(frozen=True)
class Misreading(Executor):
    """The ideal circuit, read with errors; ``shots`` of it."""

    name = "misreading"
    shots: int

    def run(self, circuit: Circuit, parameters: np.ndarray, key: Key) -> Outcome:
        read = Exact().run(circuit, parameters, key).probabilities @ channel()
        return frequencies(key.numpy().multinomial(self.shots, read / read.sum(axis=1, keepdims=True)), "noise")


@dataclass(frozen=True)
class Depolarising(Executor):
    """Each CX followed by the depolarising of both qubits, exactly, by Qiskit's density matrices."""

    name = "depolarising"
    rate: float
    over: float = 0.0
    """A coherent error: an RZZ after every CX."""

    def run(self, circuit: Circuit, parameters: np.ndarray, key: Key) -> Outcome:
        found = np.array([self._line(circuit, line) for line in parameters])
        return Outcome(found, None, len(parameters), 0, "noise")

    def _line(self, circuit: Circuit, line: np.ndarray) -> np.ndarray:
        from qiskit.circuit.library import RZZGate

        state = DensityMatrix.from_int(0, 2**circuit.qubits)
        bound = circuit.qiskit.assign_parameters(line)
        for gate in bound.data:
            if gate.operation.name == "barrier":
                continue
            qubits = [bound.find_bit(qubit).index for qubit in gate.qubits]
            state = state.evolve(gate.operation, qubits)
            if gate.operation.name == "cx":
                state = state.evolve(RZZGate(self.over), qubits)
                mixed = DensityMatrix(np.eye(4) / 4)
                state = DensityMatrix((1 - self.rate) * state.data + self.rate * mixed.data)
        return state.probabilities()


@dataclass(frozen=True)
class Failing(Executor):
    """Fails a number of times before it runs."""

    name = "failing"
    errors: tuple[Any, ...]
    calls: list[int] = field(default_factory=list, hash=False, compare=False)

    def run(self, circuit: Circuit, parameters: np.ndarray, key: Key) -> Outcome:
        self.calls.append(len(parameters))
        if len(self.calls) <= len(self.errors):
            raise self.errors[len(self.calls) - 1]
        return Shots(50).run(circuit, parameters, key)


def distance(outcome: Outcome) -> float:
    return float(np.abs(outcome.probabilities - IDEAL).sum(axis=1).max() / 2)


@dataclass(frozen=True)
class Mixing(Executor):
    """The ideal circuit, but with probability 1 − e^(−rate · gates) any outcome; ``shots`` of it, or exactly."""

    name = "mixing"
    rate: float
    shots: int | None = None

    def run(self, circuit: Circuit, parameters: np.ndarray, key: Key) -> Outcome:
        gates = sum(gate.operation.name != "barrier" for gate in circuit.qiskit.data)
        kept = np.exp(-self.rate * gates)
        mixed = kept * Exact().run(circuit, parameters, key).probabilities + (1 - kept) / 2**circuit.qubits
        if self.shots is None:
            return Outcome(mixed, None, len(parameters), 0, "noise")
        drawn = key.numpy().multinomial(self.shots, mixed / mixed.sum(axis=1, keepdims=True))
        return frequencies(drawn, "noise", device_seconds=0.5)
