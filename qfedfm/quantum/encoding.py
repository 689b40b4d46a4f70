"""Real vectors as states, and the two circuits that measure how alike two of them are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from qfedfm.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_LARGEST = 14
"""Qubits of a state; its circuit has 2ⁿ rotations, which nobody runs beyond."""


def encoding_circuit(qubits: int) -> QuantumCircuit:
    """|v⟩ = Σ_k v_k |k⟩ / ‖v‖ from |0⟩ by RY and CNOT only, for any real v of 2ⁿ numbers, signs included.

    Level l rotates qubit n−1−l by an angle for each value of the qubits above it, from the most significant qubit
    down: a rotation multiplexed by l qubits, 2^l RYs and as many CNOTs in the order of a Gray code (Möttönen et al.,
    Quantum Inf. Comput. 5, 467, 2005, arXiv quant-ph/0407010). Parameter ``theta[j]`` is the angle
    of the j-th RY; `encoding_angles` computes them. 2ⁿ − 1 rotations, 2ⁿ − 2 CNOTs.

    Args:
        qubits: n, from 1 to 14.

    Raises:
        ConfigError: another number of qubits.

    Example:
        >>> encoding_circuit(3).count_ops()["cx"]
        6
    """
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(qubits, name=f"encoding-{qubits}")
    for level, angles in enumerate(_levels("theta", qubits)):
        _rotate(circuit, angles, range(qubits), level)
    return circuit


def encoding_angles(vectors: Float64[np.ndarray, "*batch d"]) -> Float64[np.ndarray, "*batch p"]:
    """The angles of `encoding_circuit` for vectors of d numbers, filled up with zeros to 2ⁿ, n = max(1, ⌈log₂ d⌉).

    The tree of Möttönen et al.: α_s = 2 atan2(‖v on the right of node s‖, ‖v on its left‖), with the signed numbers
    themselves at the leaves, where α is between −2π and 2π and carries the signs. `gray_angles` turns the α of a level
    into the angles of its gates.

    Raises:
        DataError: a vector is empty, zero, or not finite.

    Example:
        >>> encoding_angles(np.array([1.0, -1.0])) / np.pi
        array([-0.5])
    """
    d = vectors.shape[-1]
    if not d or not np.isfinite(vectors).all() or not np.any(vectors, axis=-1).all():
        raise DataError(f"vectors of shape {vectors.shape}", "at least one number each, all finite, not all zero")
    qubits = max(1, (d - 1).bit_length())
    values = np.zeros((*vectors.shape[:-1], 2**qubits))
    values[..., :d] = vectors / np.abs(vectors).max(axis=-1, keepdims=True)
    levels = []
    while values.shape[-1] > 1:
        left, right = values[..., 0::2], values[..., 1::2]
        levels.append(gray_angles(2 * np.arctan2(right, left)))
        values = np.hypot(left, right)
    return np.concatenate(levels[::-1], axis=-1)


def inversion_test(qubits: int) -> QuantumCircuit:
    """A(v)† A(u)|0⟩ with A of `encoding_circuit`: P(0…0) = F = ⟨u|v⟩² (compute–uncompute).

    From M shots the share of 0…0 estimates F with variance F(1 − F)/M. Parameters: ``u[j]``, then ``v[j]``, both from
    `encoding_angles`. The last level of A(u) and the first of A(v)† rotate the same qubit under the same controls and
    are one multiplexed rotation by the differences: 3 · 2ⁿ⁻¹ − 4 CNOTs for n ≥ 2 instead of 2ⁿ⁺¹ − 4.

    Args:
        qubits: n, from 1 to 14.

    Raises:
        ConfigError: another number of qubits.
    """
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(qubits, name=f"inversion-test-{qubits}")
    us, vs = _levels("u", qubits), _levels("v", qubits)
    for level in range(qubits - 1):
        _rotate(circuit, us[level], range(qubits), level)
    _rotate(circuit, [u - v for u, v in zip(us[-1], vs[-1], strict=True)], range(qubits), qubits - 1)
    for level in reversed(range(qubits - 1)):
        _rotate(circuit, [-v for v in vs[level]], range(qubits), level)
    return circuit


def swap_test(qubits: int) -> QuantumCircuit:
    """P(qubit 0 is 0) = (1 + F)/2 with F = ⟨u|v⟩²: a Hadamard test of the exchange of two states.

    Buhrman et al., PRL 87, 167902 (2001). From M shots 2 · (share of even outcomes) − 1 estimates F with variance
    (1 − F²)/M, which is larger than that of `inversion_test` wherever F < 1. Qubit 0 is the ancilla, u lies on qubits
    1 … n, v on n+1 … 2n. A controlled swap is a Toffoli between two CNOTs. Parameters: ``u[j]``, then ``v[j]``.

    Args:
        qubits: n of one state, from 1 to 14.

    Raises:
        ConfigError: another number of qubits.
    """
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(2 * qubits + 1, name=f"swap-test-{qubits}")
    first, second = range(1, qubits + 1), range(qubits + 1, 2 * qubits + 1)
    for name, register in (("u", first), ("v", second)):
        for level, angles in enumerate(_levels(name, qubits)):
            _rotate(circuit, angles, register, level)
    circuit.h(0)
    for a, b in zip(first, second, strict=True):
        circuit.cx(b, a)
        circuit.ccx(0, a, b)
        circuit.cx(b, a)
    circuit.h(0)
    return circuit


def inversion_fidelity(probabilities: Float64[np.ndarray, "*batch k"]) -> Float64[np.ndarray, "*batch"]:
    """F̂ = p(0…0), from the outcomes of `inversion_test` or of a kernel."""
    return probabilities[..., 0]


def swap_fidelity(probabilities: Float64[np.ndarray, "*batch k"]) -> Float64[np.ndarray, "*batch"]:
    """F̂ = 2 Σ_{k even} p_k − 1, from the outcomes of `swap_test`; unbiased, so that shots may make it negative."""
    return np.asarray(2 * probabilities[..., 0::2].sum(axis=-1) - 1)


def multiplexed_ry(
    circuit: QuantumCircuit, angles: Sequence[Any], controls: Sequence[int], target: int, *, closed: bool = True
) -> None:
    """Appends RYs and CNOTs that rotate ``target`` by Σ_j (−1)^{i·g_j} θ_j where the controls hold the number i.

    g_j = j XOR ⌊j/2⌋ is the Gray code; a CNOT flips the sense of every rotation between it and the next one from the
    same control. Controls are given from the least significant bit of i.

    Args:
        circuit: is changed.
        angles: θ, 2^(number of controls) numbers or expressions in parameters.
        controls: qubits.
        target: a qubit that is no control.
        closed: without the last CNOT the target is also inverted where the last of the controls is 1.
    """
    for j, angle in enumerate(angles):
        following = (j + 1) % len(angles)
        circuit.ry(angle, target)
        if controls and (following or closed):
            changed = (j ^ (j >> 1)) ^ (following ^ (following >> 1))
            circuit.cx(controls[changed.bit_length() - 1], target)


def gray_angles(alpha: Float64[np.ndarray, "*batch k"]) -> Float64[np.ndarray, "*batch k"]:
    """θ_j = Σ_i (−1)^{i·g_j} α_i / k: the angles of `multiplexed_ry` that rotate by α_i where the controls hold i.

    Möttönen et al., equation 3; k is a power of two.

    Example:
        >>> gray_angles(np.array([0.5, 0.1])).round(3).tolist()
        [0.3, 0.2]
    """
    sums, words = alpha, np.arange(alpha.shape[-1])
    for bit in range(len(words).bit_length() - 1):  # the Walsh–Hadamard transform, a bit of i at a time
        pairs = sums.reshape(*alpha.shape[:-1], -1, 2, 2**bit)
        low, high = pairs[..., 0, :], pairs[..., 1, :]
        sums = np.stack((low + high, low - high), axis=-2).reshape(alpha.shape)
    return np.asarray(sums[..., words ^ (words >> 1)] / len(words))


def _levels(name: str, qubits: int) -> list[list[Any]]:
    """The parameters of `encoding_circuit`, level by level."""
    from qiskit.circuit import ParameterVector

    if not 1 <= qubits <= _LARGEST:
        raise ConfigError(f"a state of {qubits} qubits", f"1 to {_LARGEST}", "its circuit has as many gates as numbers")
    theta = ParameterVector(name, 2**qubits - 1)
    return [theta[2**level - 1 : 2 ** (level + 1) - 1] for level in range(qubits)]


def _rotate(circuit: QuantumCircuit, angles: Sequence[Any], register: range, level: int) -> None:
    """One level: the qubit below the ``level`` most significant ones of a register."""
    target = len(register) - 1 - level
    multiplexed_ry(circuit, angles, register[target + 1 :], register[target])
