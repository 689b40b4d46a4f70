"""Qiskit's statevector, with gradients by the parameter-shift rule."""

from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from qfedfm.bench.angles import Point, Simulator, measured
from qfedfm.bench.child import answer, options, startup_seconds


def probabilities(angles: np.ndarray) -> np.ndarray:
    """Of the circuit for angles layers × qubits × 2."""
    layers, qubits, _ = angles.shape
    circuit = QuantumCircuit(qubits)
    for layer in range(layers):
        for qubit in range(qubits):
            circuit.ry(angles[layer, qubit, 0], qubit)
            circuit.rz(angles[layer, qubit, 1], qubit)
        for qubit in range(qubits - 1):
            circuit.cx(qubit, qubit + 1)
    return np.asarray(Statevector(circuit).probabilities())


def shifts(angles: np.ndarray, v: np.ndarray) -> np.ndarray:
    """½⟨v, p(φ + π/2) − p(φ − π/2)⟩ for each angle."""
    found = np.zeros_like(angles)
    for where in np.ndindex(*angles.shape):
        shift = np.zeros_like(angles)
        shift[where] = np.pi / 2
        found[where] = v @ (probabilities(angles + shift) - probabilities(angles - shift)) / 2
    return found


def simulator(_qubits: int) -> tuple[Simulator, Simulator]:
    """One circuit after the other, of whatever size."""

    def value(point: Point) -> np.ndarray:
        return np.array([probabilities(angles) for angles in point[0]])

    def gradient(point: Point) -> np.ndarray:
        return np.array([shifts(angles, v) for angles, v in zip(*point, strict=True)])

    return value, gradient


def main() -> None:
    """Every size."""
    given = options()
    startup = startup_seconds(given)
    answer(startup_seconds=startup, cases=measured(given["sizes"], given["least"], simulator))


if __name__ == "__main__":
    main()
