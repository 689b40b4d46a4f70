"""Dicke states: all basis states of k ones, with equal amplitudes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qfedfm.core.errors import ConfigError
from qfedfm.quantum.encoding import multiplexed_ry

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def dicke_circuit(qubits: int, size: int) -> QuantumCircuit:
    """|D(n, k)⟩ = C(n, k)^−½ Σ_{|x| = k} |x⟩ from |0⟩, without measurement or ancilla, O(kn) gates.

    Bärtschi & Eidenbenz, FCT 2019, arXiv 1904.07358: X on k qubits, then the split & cyclic shift unitaries SCS(l, k)
    for l = n … 2. Where k > n/2 the state of n − k ones is made and inverted.

    Args:
        qubits: n ≥ 1.
        size: k, from 1 to n.

    Raises:
        ConfigError: a number out of range.

    Differs from the paper: its controlled and doubly controlled rotations are multiplexed RYs, of 2 and 4 CNOTs.

    Example:
        >>> dicke_circuit(4, 2).num_parameters
        0
    """
    from qiskit import QuantumCircuit

    if not 1 <= size <= qubits:
        raise ConfigError(f"{size} ones on {qubits} qubits", "from 1 to the number of qubits")
    circuit = QuantumCircuit(qubits, name=f"dicke-{qubits}-{size}")
    ones = min(size, qubits - size)
    if ones:
        circuit.x(range(qubits - ones, qubits))
        for last in range(qubits - 1, 0, -1):
            _split_and_shift(circuit, last, min(ones, last))
    if ones < size:
        circuit.x(range(qubits))
    return circuit


def _split_and_shift(circuit: QuantumCircuit, last: int, ones: int) -> None:
    """SCS(n, k) on qubits n−1−k … n−1, n = last + 1 and k = ones; l runs from 1 to k.

    |0…0 1^l⟩ ↦ √(l/n) |0…0 1^l⟩ + √(1 − l/n) |0…0 1^l 0⟩, the last qubit on the right.
    """
    for count in range(1, ones + 1):
        angle, below = 2 * math.acos(math.sqrt(count / (last + 1))), last - count
        controls = [last] if count == 1 else [below + 1, last]
        # all controls at 1 rotate by the angle, any other value not at all
        words = [j ^ (j >> 1) for j in range(2 ** len(controls))]
        circuit.cx(below, last)
        multiplexed_ry(circuit, [(-1) ** word.bit_count() * angle / len(words) for word in words], controls, below)
        circuit.cx(below, last)
