"""Random circuits for the tests of the engines."""

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

FIXED = (("h", 1), ("x", 1), ("y", 1), ("z", 1), ("s", 1), ("tdg", 1), ("sx", 1), ("cx", 2), ("cz", 2), ("cy", 2),
         ("swap", 2), ("iswap", 2), ("ccx", 3), ("ecr", 2), ("ch", 2), ("cs", 2))  # fmt: skip
ROTATIONS = (("rx", 1), ("ry", 1), ("rz", 1), ("p", 1), ("rzz", 2), ("rxx", 2), ("ryy", 2))
REAL = (("h", 1), ("x", 1), ("z", 1), ("cx", 2), ("cz", 2), ("swap", 2), ("ch", 2))


def random_circuit(seed: int, qubits: int, gates: int, parameters: int, *, real: bool = False) -> QuantumCircuit:
    """Random gates on random qubits; each parameter occurs in several of them, with coefficients and offsets."""
    rng = np.random.default_rng(seed)
    theta = ParameterVector("theta", parameters)
    circuit = QuantumCircuit(qubits)
    fixed, rotations = (REAL, (("ry", 1),)) if real else (FIXED, ROTATIONS)
    for parameter in theta:  # each at least once
        circuit.ry(parameter, int(rng.integers(qubits)))
    for _ in range(gates):
        if rng.random() < 0.5:
            name, size = rotations[rng.integers(len(rotations))]
            first, second = rng.integers(parameters, size=2)
            arguments = [theta[int(first)] * float(rng.normal()) - theta[int(second)] / 2 + float(rng.normal())]
        else:
            name, size = fixed[rng.integers(len(fixed))]
            arguments = []
        if size <= qubits:
            where = [int(qubit) for qubit in rng.choice(qubits, size, replace=False)]
            getattr(circuit, name)(*arguments, *where)
    return circuit


def angles(seed: int, count: int, batch: int | None = None) -> np.ndarray:
    """Angles over more than a full turn."""
    shape = (count,) if batch is None else (batch, count)
    return np.random.default_rng(seed).uniform(-7, 7, shape)
