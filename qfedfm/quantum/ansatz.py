"""The circuits whose outcome probabilities are client weights: rotations about Y and an entangler, layer by layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float64

from qfedfm.core.errors import ConfigError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Entangler = Literal["linear-cnot", "ring-cnot", "linear-cz", "ring-cz", "none"]
ENTANGLERS: tuple[Entangler, ...] = ("linear-cnot", "ring-cnot", "linear-cz", "ring-cz", "none")


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

    The circuit ends with rotations because a final diagonal gate or permutation would add nothing that can be learned.
    It has real amplitudes. Parameter ``theta[l · qubits + q]`` is the angle of qubit q in layer l, in radians.

    Args:
        qubits: at least 1.
        layers: L ≥ 1, the number of entanglers.
        entangler: CNOTs or CZs between neighbours, along a line (0→1, 1→2, …) or closed to a ring where there are at
            least three qubits; ``none`` leaves them out and keeps the number of parameters.

    Raises:
        ConfigError: a number is below 1, or the entangler is unknown.

    Example:
        >>> circuit = born_circuit(3, 2)
        >>> circuit.num_parameters, circuit.count_ops()["cx"]
        (9, 6)
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector

    if qubits < 1 or layers < 1:
        raise ConfigError(f"a circuit of {qubits} qubits and {layers} layers", "at least one of each")
    if entangler not in ENTANGLERS:
        raise ConfigError(f"entangler {entangler!r}", f"one of {', '.join(ENTANGLERS)}")
    theta = ParameterVector("theta", born_parameters(qubits, layers))
    circuit = QuantumCircuit(qubits, name=f"born-{qubits}x{layers}-{entangler}")
    for layer in range(layers + 1):
        if layer:
            _entangle(circuit, entangler)
        for qubit in range(qubits):
            circuit.ry(theta[layer * qubits + qubit], qubit)
    return circuit


def _entangle(circuit: QuantumCircuit, entangler: Entangler) -> None:
    if entangler == "none":
        return
    shape, gate = entangler.split("-")
    qubits = circuit.num_qubits
    # on two qubits the closing gate would be the first one again, and two equal CZs are the identity
    pairs = qubits if shape == "ring" and qubits > 2 else qubits - 1
    for control in range(pairs):
        target = (control + 1) % qubits
        if gate == "cnot":
            circuit.cx(control, target)
        else:
            circuit.cz(control, target)


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
