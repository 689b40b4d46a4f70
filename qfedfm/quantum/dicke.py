"""Dicke states: all basis states of k ones, with equal amplitudes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from qfedfm.core.errors import ConfigError
from qfedfm.quantum.encoding import gray_angles, multiplexed_ry

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def dicke_circuit(qubits: int, size: int) -> QuantumCircuit:
    """|D(n, k)⟩ = C(n, k)^−½ Σ_{|x| = k} |x⟩ from |0⟩, without measurement or ancilla, O(kn) gates.

    Bärtschi & Eidenbenz, FCT 2019, arXiv 1904.07358: X on k qubits, then the split & cyclic shift unitaries SCS(l, k)
    for l = n … 2, of which only the blocks that can meet their input are there; 5nk − 5k² − 2n CNOTs for 1 ≤ k ≤ n/2.
    Where k > n/2 the state of n − k ones is made and inverted.

    Args:
        qubits: n ≥ 1.
        size: k, from 1 to n.

    Raises:
        ConfigError: a number out of range.

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
        # the input of the first block is known: no controls
        circuit.ry(2 * math.acos(math.sqrt(ones / qubits)), qubits - 1 - ones)
        circuit.cx(qubits - 1 - ones, qubits - 1)
        for step in range(1, qubits - 1):
            last = qubits - 1 - step
            fewest = max(1, ones - step)
            for count in range(fewest, min(ones, last) + 1):
                _split(circuit, last, count, fewest=count == fewest)
    if ones < size:
        circuit.x(range(qubits))
    return circuit


def _split(circuit: QuantumCircuit, last: int, count: int, *, fewest: bool) -> None:
    """A block of SCS: |0 1^l⟩ ↦ √(l/n) |0 1^l⟩ + √(1 − l/n) |1^l 0⟩ on qubits n−1−l … n−1, n = last + 1, l = count.

    Other inputs that occur are left alone. After the first CNOT the lowest qubit is 0 wherever the last one is 1, so
    that the last CNOT of the multiplexed rotation can be left out: the inversion is part of the angles, of which π
    makes |0⟩ from |0⟩. Where no input has fewer than l ones (``fewest``), the last qubit alone tells |0 1^l⟩.
    """
    below, angle = last - count, 2 * math.asin(math.sqrt(count / (last + 1)))
    controls, alpha = ([last], [0.0, angle]) if fewest else ([below + 1, last], [0.0, 0.0, math.pi, angle])
    circuit.cx(below, last)
    multiplexed_ry(circuit, gray_angles(np.array(alpha)).tolist(), controls, below, closed=False)
    circuit.cx(below, last)
