"""Circuits that are trained: their outcome probabilities are client weights, or the score of one client's features."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Float64

from qfedfm.core.errors import ConfigError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Entangler = Literal["linear-cnot", "ring-cnot", "all-cnot", "linear-cz", "ring-cz", "all-cz", "none"]
ENTANGLERS: tuple[Entangler, ...] = get_args(Entangler)


def qubits_for(outcomes: int) -> int:
    """⌈log₂ outcomes⌉, at least 1: the qubits whose basis states can stand for that many clients.

    Example:
        >>> [qubits_for(clients) for clients in (1, 2, 4, 5, 10, 16)]
        [1, 1, 2, 3, 4, 4]
    """
    return max(1, (outcomes - 1).bit_length())


def born_parameters(qubits: int, layers: int) -> int:
    """The number of parameters of `born_circuit`: one rotation for each qubit, before and after every entangler.

    Example:
        >>> born_parameters(4, 4)
        20
    """
    return qubits * (layers + 1)


def born_circuit(qubits: int, layers: int, entangler: Entangler = "ring-cnot") -> QuantumCircuit:
    """U(θ) = R(θ_L) · E · R(θ_{L−1}) ⋯ E · R(θ_0) with R(θ) = ⊗_q RY(θ_q) and E the entangler.

    A Born machine (Liu & Wang, PRA 98, 062324, 2018): client k, the k-th of the sorted ids, belongs to basis state k,
    and p_k = |⟨k|U(θ)|0⟩|². The circuit ends with rotations because a final diagonal gate or permutation would add
    nothing that can be learned. It has real amplitudes. Parameter ``theta[l · qubits + q]`` is the angle of qubit q in
    layer l, in radians.

    Args:
        qubits: at least 1.
        layers: L ≥ 1, the number of entanglers.
        entangler: CNOTs or CZs between neighbours along a line (0→1, 1→2, …), closed to a ring where there are at
            least three qubits, or between all pairs (0→1, 0→2, …, 1→2, …); ``none`` leaves them out and keeps the
            number of parameters.

    Raises:
        ConfigError: a number is below 1, or the entangler is unknown.

    Example:
        >>> circuit = born_circuit(3, 2)
        >>> circuit.num_parameters, circuit.count_ops()["cx"]
        (9, 6)
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector

    _check(qubits, layers, entangler)
    theta = ParameterVector("theta", born_parameters(qubits, layers))
    circuit = QuantumCircuit(qubits, name=f"born-{qubits}x{layers}-{entangler}")
    for layer in range(layers + 1):
        if layer:
            _entangle(circuit, entangler)
        for qubit in range(qubits):
            circuit.ry(theta[layer * qubits + qubit], qubit)
    return circuit


def reuploading_circuit(qubits: int, layers: int, features: int, entangler: Entangler = "ring-cnot") -> QuantumCircuit:
    """U(θ, x) = R(θ_B) · E · S(x) · R(θ_{B−1}) ⋯ E · S(x) · R(θ_0), S(x) = ⊗_q RZ(x_q): features are uploaded L times.

    One circuit for each client, with the client's features as inputs: the probability that qubit 0 is 1 is the client's
    score, so that the ids of the clients and their order change nothing. (In `born_circuit` a client is a basis state.)
    Data re-uploading: Pérez-Salinas et al., Quantum 4, 226 (2020), arXiv 1907.02085. Every probability is a
    trigonometric polynomial of degree at most L in each feature (Schuld, Sweke & Meyer, PRA 103, 032430, 2021).

    Parameters: ``theta[b · qubits + q]``, trained, then ``x[j]``, one feature each, in radians. With more features than
    qubits an upload takes several blocks: feature j goes to qubit j mod n in block ⌊j/n⌋ of each upload, so that there
    are B = L · ⌈features/n⌉ blocks and n · (B + 1) trained angles.

    Args:
        qubits: n ≥ 1.
        layers: L ≥ 1, the number of uploads.
        features: at least 1.
        entangler: as of `born_circuit`.

    Raises:
        ConfigError: a number is below 1, or the entangler is unknown.

    Differs from the paper: features have RZ gates of their own instead of being weighted and added to trained angles,
    so that the gates' angles are linear in the parameters; scale the features classically.

    Example:
        >>> circuit = reuploading_circuit(2, 3, features=2)
        >>> [circuit.parameters[index].name for index in (0, 7, 8, 9)]
        ['theta[0]', 'theta[7]', 'x[0]', 'x[1]']
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector

    _check(qubits, layers, entangler)
    if features < 1:
        raise ConfigError(f"{features} features", "at least one")
    parts = -(-features // qubits)
    theta, x = ParameterVector("theta", qubits * (layers * parts + 1)), ParameterVector("x", features)
    circuit = QuantumCircuit(qubits, name=f"reuploading-{qubits}x{layers}-{features}")
    for block in range(layers * parts + 1):
        if block:
            first = (block - 1) % parts * qubits
            for qubit, feature in enumerate(x[first : first + qubits]):
                circuit.rz(feature, qubit)
            _entangle(circuit, entangler)
        for qubit in range(qubits):
            circuit.ry(theta[block * qubits + qubit], qubit)
    return circuit


def _check(qubits: int, layers: int, entangler: Entangler) -> None:
    if qubits < 1 or layers < 1:
        raise ConfigError(f"a circuit of {qubits} qubits and {layers} layers", "at least one of each")
    if entangler not in ENTANGLERS:
        raise ConfigError(f"entangler {entangler!r}", f"one of {', '.join(ENTANGLERS)}")


def _entangle(circuit: QuantumCircuit, entangler: Entangler) -> None:
    if entangler == "none":
        return
    shape, gate = entangler.split("-")
    for control, target in _pairs(circuit.num_qubits, shape):
        if gate == "cnot":
            circuit.cx(control, target)
        else:
            circuit.cz(control, target)


def _pairs(qubits: int, shape: str) -> list[tuple[int, int]]:
    if shape == "all":
        return list(combinations(range(qubits), 2))
    # on two qubits the closing gate would be the first one again, and two equal CZs are the identity
    closing = [(qubits - 1, 0)] if shape == "ring" and qubits > 2 else []
    return [(qubit, qubit + 1) for qubit in range(qubits - 1)] + closing


def uniform_start(qubits: int, layers: int) -> Float64[np.ndarray, " p"]:
    """Angles at which every basis state has probability 2⁻ⁿ: π/2 in the first layer, 0 after it.

    The first layer makes |+⟩^⊗n, on which CNOTs do nothing and CZs only change signs, whatever the entangler is.

    Example:
        >>> uniform_start(2, 1).round(3).tolist()
        [1.571, 1.571, 0.0, 0.0]
    """
    theta = np.zeros(born_parameters(qubits, layers))
    theta[:qubits] = math.pi / 2
    return theta
