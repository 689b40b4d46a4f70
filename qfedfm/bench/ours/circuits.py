"""The library's statevector engine, and a training step of the Born aggregator."""

from __future__ import annotations

import time

import numpy as np

from qfedfm.bench.angles import LAYERS, Simulator, measured
from qfedfm.bench.child import answer, options, startup_seconds
from qfedfm.core.key import Key
from qfedfm.engine.environment import environment
from qfedfm.quantum.statevector import compile_circuit
from qfedfm.reduces.born import Born
from qfedfm.reduces.client_weights import Problem
from qfedfm.reduces.variational import descend


def simulator(qubits: int) -> tuple[Simulator, Simulator]:
    """Probabilities and their vector–Jacobian product."""
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector

    angles = ParameterVector("angle", LAYERS * qubits * 2)
    circuit = QuantumCircuit(qubits)
    for layer in range(LAYERS):
        for qubit in range(qubits):
            at = 2 * (layer * qubits + qubit)
            circuit.ry(angles[at], qubit)
            circuit.rz(angles[at + 1], qubit)
        for qubit in range(qubits - 1):
            circuit.cx(qubit, qubit + 1)
    program = compile_circuit(circuit)

    def gradient(point: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        _, pullback = program.evaluate(point[0].reshape(len(point[0]), -1))
        return np.asarray(pullback(point[1]))

    return lambda point: np.asarray(program.values(point[0].reshape(len(point[0]), -1))), gradient


def step_seconds(clients: int = 64, descents: int = 20) -> float:
    """The median seconds of a step: probabilities, gradient, update of the angles; no pass over data."""
    reduce, key, rng = Born(), Key.of(7), Key.of(7).fold("slopes").numpy()
    problem, slopes = Problem(np.arange(clients), np.full(clients, 1 / clients)), rng.normal(size=clients)
    seconds = []
    for descent in range(descents + 1):
        begin = time.perf_counter()
        descend(reduce, problem, reduce.initial(clients), slopes, clients, key.fold(descent), reduce.trust)
        seconds.append((time.perf_counter() - begin) / reduce.steps)
    return float(np.median(seconds[1:]))  # the first one compiles


def main() -> None:
    """Every size, then the training step."""
    given = options()
    startup = startup_seconds(given)
    cases = measured(given["sizes"], given["least"], simulator)
    answer(startup_seconds=startup, cases=cases, step_seconds=step_seconds(), environment=environment({}))


if __name__ == "__main__":
    main()
