"""From a Qiskit circuit to PennyLane's operations, gate by gate, with a batch of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from qfedfm.core.errors import ConfigError
from qfedfm.quantum import gates
from qfedfm.quantum.circuit import linear_form

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

TURNS = {
    "rx": "RX",
    "ry": "RY",
    "rz": "RZ",
    "p": "PhaseShift",
    "rxx": "IsingXX",
    "ryy": "IsingYY",
    "rzz": "IsingZZ",
}
"""Gates with one angle, by Qiskit's name and by PennyLane's; both mean exp(−iφP/2), but for the phase of ``p``."""
FIXED = {
    "id": "Identity",
    "h": "Hadamard",
    "x": "PauliX",
    "y": "PauliY",
    "z": "PauliZ",
    "s": "S",
    "t": "T",
    "sx": "SX",
    "cx": "CNOT",
    "cy": "CY",
    "cz": "CZ",
    "ch": "CH",
    "swap": "SWAP",
    "iswap": "ISWAP",
    "ecr": "ECR",
    "ccx": "Toffoli",
    "ccz": "CCZ",
    "cswap": "CSWAP",
}
"""Gates without a parameter that both libraries have."""


def operations(circuit: QuantumCircuit, parameters: Float64[np.ndarray, "b p"]) -> list[Any]:
    """The circuit's gates as PennyLane operations; wire q is qubit q.

    A gate of `TURNS`, `FIXED` or X with controls becomes PennyLane's own, any other its matrix. PennyLane's wires are
    read with the first one most significant: measure ``probs`` of the wires in reverse for Qiskit's order.

    Args:
        circuit: without measurements.
        parameters: one line for each run; a batch of one is emitted without a batch dimension.

    Raises:
        ConfigError: the number of parameters is not the circuit's, a gate with a parameter is none of `TURNS`, or
            something has no matrix.
    """
    if parameters.shape[1] != circuit.num_parameters:
        raise ConfigError(f"{parameters.shape[1]} parameters", f"the circuit's {circuit.num_parameters}")
    order = {parameter: index for index, parameter in enumerate(circuit.parameters)}
    emitted = []
    for instruction in circuit.data:
        if instruction.operation.name != "barrier":
            wires = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
            emitted.append(_emit(instruction.operation, wires, order, parameters))
    return emitted


def _emit(operation: Any, wires: list[int], order: dict[Any, int], parameters: np.ndarray) -> Any:
    import pennylane as qml

    name = operation.name
    if gates.free(operation) and name not in TURNS:
        raise gates.unknown(name)
    if name in TURNS and len(operation.params) == 1:
        return getattr(qml, TURNS[name])(_angle(operation.params[0], order, parameters), wires=wires)
    controlled = getattr(operation, "num_ctrl_qubits", 0)
    if name in FIXED and getattr(operation, "ctrl_state", 0) == 2**controlled - 1:
        return getattr(qml, FIXED[name])(wires=wires)
    controls = gates.flip(operation)
    if controls is not None:
        values = [bool(controls[1] >> bit & 1) for bit in range(controls[0])]
        return qml.MultiControlledX(wires=wires, control_values=values)
    return qml.QubitUnitary(gates.matrix_of(operation), wires=wires[::-1])


def _angle(expression: Any, order: dict[Any, int], parameters: np.ndarray) -> Any:
    if not getattr(expression, "parameters", ()):
        return float(expression)
    coefficients, constant = linear_form(expression, order)
    angles = parameters @ coefficients + constant
    return angles if len(angles) > 1 else float(angles[0])
