"""Gates of Qiskit as matrices, permutations and phases over basis states; qubit 0 is the least significant bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from qfedfm.core.errors import ConfigError

GENERATORS = {
    "rx": np.array([[0, -1j], [-1j, 0]]),
    "ry": np.array([[0, -1], [1, 0]], complex),
    "rz": np.array([[-1j, 0], [0, 1j]]),
    "p": np.array([[-1j, 0], [0, 1j]]),  # RZ up to a global phase
}
"""G of a rotation exp(−iφP/2) = cos(φ/2)·1 + sin(φ/2)·G, G = −iP."""

PAIRS = ("rxx", "ryy", "rzz")
"""Rotations of two qubits that may have parameters."""
LARGEST = 8
"""Qubits of a fixed gate that is made a matrix."""
ZERO = 1e-12


def free(operation: Any) -> bool:
    """Whether the gate has a parameter without a number."""
    return any(len(getattr(value, "parameters", ())) > 0 for value in operation.params)


def matrix_of(operation: Any) -> np.ndarray:
    """The unitary of a fixed gate.

    Raises:
        ConfigError: it has none, or is too large to be written down.
    """
    from qiskit.circuit import Gate
    from qiskit.exceptions import QiskitError
    from qiskit.quantum_info import Operator

    if not isinstance(operation, Gate) or operation.num_qubits > LARGEST:
        raise unknown(operation.name)
    try:
        return np.asarray(Operator(operation).data)
    except QiskitError as error:
        raise unknown(operation.name) from error


def flip(operation: Any) -> tuple[int, int] | None:
    """Number of controls and the state in which they flip the last qubit; None for all but X with controls."""
    base = getattr(operation, "base_gate", None)
    return (
        (int(operation.num_ctrl_qubits), int(operation.ctrl_state)) if base is not None and base.name == "x" else None
    )


def flipped(content: tuple[int, int], qubits: tuple[int, ...], total: int) -> Int64[np.ndarray, " n"]:
    """The permutation of the 2ⁿ states by a controlled X on (controls…, target), of what `flip` says."""
    controls, value = content
    states = np.arange(2**total)
    mask = sum(1 << qubit for qubit in qubits[:controls])
    wanted = sum((value >> bit & 1) << qubit for bit, qubit in enumerate(qubits[:controls]))
    return np.where(states & mask == wanted, states ^ (1 << qubits[-1]), states)


def is_monomial(matrix: np.ndarray) -> bool:
    """One number other than 0 in every row: a permutation with phases."""
    return bool(np.all(np.count_nonzero(np.abs(matrix) > ZERO, axis=1) == 1))


def embedded(matrix: np.ndarray, qubits: tuple[int, ...], total: int) -> tuple[np.ndarray, np.ndarray]:
    """Source and phase over all 2ⁿ states of a monomial gate on some qubits: ψ'[k] = phase[k] · ψ[source[k]]."""
    columns = np.argmax(np.abs(matrix), axis=1)
    values = matrix[np.arange(len(matrix)), columns]
    states = np.arange(2**total)
    rows = sum(((states >> qubit) & 1) << bit for bit, qubit in enumerate(qubits))
    source = states & ~sum(1 << qubit for qubit in qubits)
    for bit, qubit in enumerate(qubits):
        source = source | (((columns[rows] >> bit) & 1) << qubit)
    return source, values[rows]


def highest(qubits: tuple[int, ...], total: int) -> Int64[np.ndarray, " n"]:
    """All basis states, in the order of a number whose highest bits are the given qubits, the first one lowest."""
    others = [qubit for qubit in range(total) if qubit not in qubits]
    number = np.arange(2**total)
    return np.asarray(sum((number >> bit & 1) << qubit for bit, qubit in enumerate([*others, *qubits])))


def signs(qubits: tuple[int, ...], total: int) -> Float64[np.ndarray, " n"]:
    """The eigenvalue of Z⊗Z… on these qubits in each basis state."""
    states = np.arange(2**total)
    return np.asarray(1.0 - 2.0 * (sum(states >> qubit for qubit in qubits) & 1))


def minus_i_pauli(name: str, qubits: tuple[int, ...], total: int) -> tuple[np.ndarray, np.ndarray]:
    """Source and phase of −i X⊗X (``rxx``) or −i Y⊗Y (``ryy``); Y⊗Y is −Z⊗Z X⊗X."""
    source = np.arange(2**total) ^ (1 << qubits[0]) ^ (1 << qubits[1])
    return source, -1j * (np.ones(2**total) if name == "rxx" else -signs(qubits, total))


def unknown(name: str) -> ConfigError:
    """What is said of a gate that cannot be simulated here."""
    turns = ", ".join((*GENERATORS, *PAIRS))
    known = f"fixed gates of up to {LARGEST} qubits, X with controls, and {turns} with parameters"
    remedy = "remove final measurements" if name == "measure" else "transpile the circuit to these gates"
    return ConfigError(f"the statevector engine does not know {name!r} in this place", known, remedy)
