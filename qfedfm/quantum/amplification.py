"""A mean as an amplitude, and the Grover operator that turns it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float64

from qfedfm.core.errors import ConfigError, DataError
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.encoding import encoding_circuit, gray_angles, multiplexed_ry

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_LARGEST = 12
"""Qubits of x; its rotations are 2ⁿ."""
_DEEPEST = 2**12
"""Grover operators in one circuit."""

Distribution = Literal["uniform", "any"]


def mean_estimation(qubits: int, power: int = 0, distribution: Distribution = "uniform") -> QuantumCircuit:
    """Qᵐ A|0⟩, whose qubit 0 is 1 with probability sin²((2m + 1)θ), where sin²θ = Σ_x p(x) f(x).

    A|0⟩ = Σ_x √p(x) |x⟩ (√(1 − f(x)) |0⟩ + √f(x) |1⟩), x on qubits 1 … n, its least significant bit on qubit 1, and the
    flag on qubit 0: a Hadamard on each qubit of x, or `encoding_circuit` for any p, then a rotation multiplexed by x
    (Möttönen et al., arXiv quant-ph/0407010). Q is that of `amplified`. Parameters: ``f[j]`` from `value_angles`, and
    for any p also ``p[j]`` from `encoding_angles` of √p.
    Brassard, Høyer, Mosca & Tapp, Contemporary Mathematics 305 (2002), arXiv quant-ph/0005055.

    Args:
        qubits: n of x, from 1 to 12.
        power: m ≥ 0.
        distribution: ``uniform``, or ``any``.

    Raises:
        ConfigError: a number out of range.

    Example:
        >>> mean_estimation(2, 1).num_parameters
        4
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector

    if not 1 <= qubits <= _LARGEST:
        raise ConfigError(f"a mean over {qubits} qubits", f"1 to {_LARGEST}", "its circuit has as many gates as values")
    register = range(1, qubits + 1)
    A = QuantumCircuit(qubits + 1)
    if distribution == "uniform":
        A.h(register)
    else:
        encoding = encoding_circuit(qubits)
        p = ParameterVector("p", encoding.num_parameters)
        A.compose(encoding.assign_parameters(list(p)), register, inplace=True)
    multiplexed_ry(A, list(ParameterVector("f", 2**qubits)), register, 0)
    circuit = amplified(A, power)
    circuit.name = f"mean-estimation-{qubits}-{power}"
    return circuit


def value_angles(values: Float64[np.ndarray, "*batch k"]) -> Float64[np.ndarray, "*batch k"]:
    """The angles of the rotation multiplexed by x that make √f(x) the amplitude of the flag: 2 arcsin √f, transformed.

    Raises:
        DataError: a value outside [0, 1].

    Example:
        >>> (value_angles(np.array([1.0, 0.0])) / np.pi).tolist()
        [0.5, 0.5]
    """
    if not ((values >= 0) & (values <= 1)).all():  # False for NaN too
        raise DataError("values for a flag's amplitude", "numbers from 0 to 1", "scale them by declared bounds")
    return gray_angles(2 * np.arcsin(np.sqrt(values)))


def amplified(A: QuantumCircuit, power: int) -> QuantumCircuit:
    """Qᵐ A with Q = A S₀ A† S_χ up to a global phase: m + 1 times A, m times A†.

    S_χ = Z on qubit 0, the flag; S₀ = 1 − 2|0⟩⟨0|. In the plane of the two states that A|0⟩ is made of, flag 0 and flag
    1, Q is a rotation by 2θ: P(flag = 1) = sin²((2m + 1)θ) with sin²θ its probability after A.

    Args:
        A: qubit 0 is the flag; without measurements, with or without free parameters.
        power: m ≥ 0.

    Raises:
        ConfigError: a power out of range.
    """
    if not 0 <= power <= _DEEPEST:
        raise ConfigError(f"Grover power {power}", f"0 to {_DEEPEST}")
    circuit = A.copy()
    if power:
        backwards, others = A.inverse(), range(1, A.num_qubits)
        Q = A.copy_empty_like()
        Q.z(0)
        Q.compose(backwards, inplace=True)
        Q.x(range(A.num_qubits))
        if others:
            Q.h(0)
            Q.mcx(list(others), 0)
            Q.h(0)
        else:
            Q.z(0)
        Q.x(range(A.num_qubits))
        Q.compose(A, inplace=True)
        for _ in range(power):
            circuit.compose(Q, inplace=True)
    return circuit


def flagged(probabilities: Float64[np.ndarray, "*batch k"]) -> Float64[np.ndarray, "*batch"]:
    """P(qubit 0 is 1) = Σ_{k odd} p_k: the mean, from the outcomes of A."""
    return np.asarray(probabilities[..., 1::2].sum(axis=-1))


@dataclass(frozen=True, eq=False)
class Mean:
    """A mean a = P(qubit 0 is 1) after A, with the circuits Qᵐ A that measure it, each made once.

    Args:
        A: without free parameters and measurements.

    Raises:
        ConfigError: A has free parameters.
    """

    A: QuantumCircuit
    _circuits: dict[int, Circuit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.A.num_parameters:
            raise ConfigError(f"A with {self.A.num_parameters} free parameters", "none", "bind them to numbers")

    @classmethod
    def of(cls, prepared: QuantumCircuit, values: Float64[np.ndarray, " k"]) -> Mean:
        """The mean Σ_x p(x) f(x) of values over the first log₂ k qubits of a state, |⟨x|…⟩|² = p(x).

        Args:
            prepared: makes the state; its further qubits are summed over.
            values: f, from 0 to 1, where these qubits hold the number x; k a power of two.

        Raises:
            ConfigError: values that are not as many as numbers on some of the qubits.
            DataError: a value outside [0, 1].
        """
        from qiskit import QuantumCircuit

        qubits = len(values).bit_length() - 1
        if len(values) != 2**qubits or qubits > prepared.num_qubits:
            raise ConfigError(f"{len(values)} values", f"2^k of them, k at most {prepared.num_qubits}")
        A = QuantumCircuit(prepared.num_qubits + 1)
        A.compose(prepared, range(1, prepared.num_qubits + 1), inplace=True)
        multiplexed_ry(A, value_angles(values).tolist(), range(1, qubits + 1), 0)
        return cls(A)

    def circuit(self, power: int) -> Circuit:
        """Qᵐ A for m = ``power``."""
        if power not in self._circuits:
            self._circuits[power] = Circuit(amplified(self.A, power))
        return self._circuits[power]
