"""A statevector engine: a Qiskit circuit compiled once into a differentiable batched torch function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float64

from qfedfm.core.errors import ConfigError
from qfedfm.quantum.circuit import linear_form

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_BLOCK = 4
"""Neighbouring qubits whose gates become one matrix; larger blocks cost more arithmetic, smaller ones more calls."""

_GENERATORS = {
    "rx": np.array([[0, -1j], [-1j, 0]]),
    "ry": np.array([[0, -1], [1, 0]], complex),
    "rz": np.array([[-1j, 0], [0, 1j]]),
    "p": np.array([[-1j, 0], [0, 1j]]),  # RZ up to a global phase
}
"""G of a rotation exp(−iφP/2) = cos(φ/2)·1 + sin(φ/2)·G, G = −iP."""


@dataclass(frozen=True)
class _Local:
    """Gates on single qubits: for each qubit the numbers of its gates, in the order in which they act."""

    gates: dict[int, list[int]] = field(default_factory=dict)

    def apply(self, state: torch.Tensor, matrices: torch.Tensor, angles: torch.Tensor, qubits: int) -> torch.Tensor:
        batch, low = state.shape[0], 0
        blocks = -(-qubits // _BLOCK)
        for block in range(blocks):
            width = qubits // blocks + (block < qubits % blocks)
            if any(low <= qubit < low + width for qubit in self.gates):
                matrix = self._block(range(low, low + width), matrices)
                state = torch.matmul(matrix[:, None], state.view(batch, -1, 2**width, 2**low)).view(batch, -1)
            low += width
        return state

    def _block(self, qubits: Sequence[int], matrices: torch.Tensor) -> torch.Tensor:
        product = None
        for qubit in qubits:
            matrix = self._fused(qubit, matrices)
            product = matrix if product is None else _kron(matrix, product)
        return product if product is not None else matrices

    def _fused(self, qubit: int, matrices: torch.Tensor) -> torch.Tensor:
        gates = self.gates.get(qubit)
        if not gates:
            return torch.eye(2, dtype=matrices.dtype)[None]
        matrix = matrices[:, gates[0]]
        for gate in gates[1:]:
            matrix = matrices[:, gate] @ matrix
        return matrix


@dataclass(frozen=True)
class _Monomial:
    """Fixed gates that permute basis states and multiply them by phases: ψ'[k] = phase[k] · ψ[source[k]]."""

    source: torch.Tensor
    phase: torch.Tensor | None

    def apply(self, state: torch.Tensor, matrices: torch.Tensor, angles: torch.Tensor, qubits: int) -> torch.Tensor:
        state = state[:, self.source]
        return state if self.phase is None else state * self.phase


@dataclass(frozen=True)
class _ZZ:
    """Rotations exp(−iφ Z⊗Z/2): signs[g, k] is the eigenvalue of gate g on basis state k, angles ``which``."""

    which: list[int]
    signs: torch.Tensor

    def apply(self, state: torch.Tensor, matrices: torch.Tensor, angles: torch.Tensor, qubits: int) -> torch.Tensor:
        return state * torch.exp(-0.5j * (angles[:, self.which] @ self.signs))


_Operation = _Local | _Monomial | _ZZ


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled circuit. Qubit 0 is the least significant bit of a basis state's number, as in Qiskit.

    Real circuits (RY, CNOT, CZ, H …) run in float64, others in complex128.
    """

    qubits: int
    parameters: int
    _operations: tuple[_Operation, ...]
    _W: torch.Tensor
    _b: torch.Tensor
    _cosine: torch.Tensor
    _sine: torch.Tensor

    def probabilities(self, theta: Float64[torch.Tensor, "b p"]) -> Float64[torch.Tensor, "b n"]:
        """|⟨k|U(θ)|0⟩|² for k < 2ⁿ, one line for each line of parameters; differentiable by autograd.

        Raises:
            ConfigError: the number of parameters is not the circuit's.
        """
        state = self.state(theta)
        return state.square() if not state.is_complex() else state.real.square() + state.imag.square()

    def state(self, theta: Float64[torch.Tensor, "b p"]) -> torch.Tensor:
        """The amplitudes ⟨k|U(θ)|0⟩ up to a global phase, b × 2ⁿ."""
        if theta.shape[1] != self.parameters:
            raise ConfigError(f"{theta.shape[1]} parameters", f"{self.parameters}, as the circuit has")
        angles = theta @ self._W.T + self._b
        half = angles[..., None, None] / 2
        matrices = torch.cos(half) * self._cosine + torch.sin(half) * self._sine
        state = torch.zeros(len(theta), 2**self.qubits, dtype=matrices.dtype)
        state[:, 0] = 1
        for operation in self._operations:
            state = operation.apply(state, matrices, angles, self.qubits)
        return state


def compile_circuit(circuit: QuantumCircuit) -> Program:
    """Compiles a circuit of single-qubit gates, RX, RY, RZ, P and RZZ with parameters, CNOT, CZ, SWAP and the like.

    Runs of fixed gates that only permute and sign basis states become one gather; rotations of different qubits become
    matrices of up to four qubits.

    Raises:
        ConfigError: a gate that the engine does not know, a measurement, or an angle that is not linear.
    """
    compiler = _Compiler(int(circuit.num_qubits), {p: i for i, p in enumerate(circuit.parameters)})
    for instruction in circuit.data:
        if instruction.operation.name != "barrier":
            compiler.add(instruction.operation, [circuit.find_bit(qubit).index for qubit in instruction.qubits])
    return compiler.program()


class _Compiler:
    """Collects gates into operations; lives only while `compile_circuit` runs."""

    def __init__(self, qubits: int, order: dict[Any, int]) -> None:
        self.qubits, self.order = qubits, order
        self.operations: list[_Operation] = []
        self.forms: list[tuple[np.ndarray, float]] = []
        self.matrices: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, operation: Any, qubits: list[int]) -> None:
        name, free = operation.name, any(hasattr(value, "parameters") for value in operation.params)
        if free and name == "rzz":
            self._zz(operation.params[0], qubits)
        elif free and name in _GENERATORS:
            form = linear_form(operation.params[0], self.order)
            self._local(qubits[0], form, np.eye(2, dtype=complex), _GENERATORS[name])
        elif not free and hasattr(operation, "to_matrix") and len(qubits) == 1:
            constant = (np.zeros(len(self.order)), 0.0)
            self._local(qubits[0], constant, operation.to_matrix(), np.zeros((2, 2), complex))
        elif not free and hasattr(operation, "to_matrix"):
            self._monomial(name, operation.to_matrix(), qubits)
        else:
            raise _unknown(name)

    def _form(self, form: tuple[np.ndarray, float], cosine: np.ndarray, sine: np.ndarray) -> int:
        self.forms.append(form)
        self.matrices.append((cosine, sine))
        return len(self.forms) - 1

    def _local(self, qubit: int, form: tuple[np.ndarray, float], cosine: np.ndarray, sine: np.ndarray) -> None:
        last = self.operations[-1] if self.operations else None
        if not isinstance(last, _Local):
            last = _Local()
            self.operations.append(last)
        last.gates.setdefault(qubit, []).append(self._form(form, cosine, sine))

    def _monomial(self, name: str, matrix: np.ndarray, qubits: list[int]) -> None:
        source, phase = _embed(name, matrix, qubits, self.qubits)
        last = self.operations[-1] if self.operations else None
        if isinstance(last, _Monomial):
            self.operations.pop()
            phase = phase if last.phase is None else phase * last.phase.numpy()[source]
            source = last.source.numpy()[source]
        factor = None if np.all(phase == 1) else torch.from_numpy(phase)
        self.operations.append(_Monomial(torch.from_numpy(source), factor))

    def _zz(self, expression: Any, qubits: list[int]) -> None:
        index = self._form(linear_form(expression, self.order), np.eye(2, dtype=complex), np.zeros((2, 2), complex))
        states = np.arange(2**self.qubits)
        signs = 1.0 - 2.0 * (((states >> qubits[0]) ^ (states >> qubits[1])) & 1)
        which, rows = [index], torch.from_numpy(signs[None])
        last = self.operations[-1] if self.operations else None
        if isinstance(last, _ZZ):
            self.operations.pop()
            which, rows = [*last.which, index], torch.cat((last.signs, rows))
        self.operations.append(_ZZ(which, rows))

    def program(self) -> Program:
        gates = len(self.forms)
        cosine = np.array([pair[0] for pair in self.matrices]).reshape(gates, 2, 2)
        sine = np.array([pair[1] for pair in self.matrices]).reshape(gates, 2, 2)
        fixed = [operation.phase for operation in self.operations if isinstance(operation, _Monomial)]
        real = not any(isinstance(operation, _ZZ) for operation in self.operations)
        real = real and not (cosine.imag.any() or sine.imag.any())
        real = real and all(phase is None or not phase.is_complex() for phase in fixed)
        if real:
            cosine, sine = cosine.real, sine.real
        W = np.array([form[0] for form in self.forms]).reshape(gates, len(self.order))
        b = np.array([form[1] for form in self.forms], np.float64)
        tensors = (torch.from_numpy(np.ascontiguousarray(array)) for array in (W, b, cosine, sine))
        return Program(self.qubits, len(self.order), tuple(self.operations), *tensors)


def _embed(name: str, matrix: np.ndarray, qubits: list[int], total: int) -> tuple[np.ndarray, np.ndarray]:
    """A monomial gate on some qubits as source and phase over all 2ⁿ states."""
    if not np.all(np.count_nonzero(np.abs(matrix) > 1e-12, axis=1) == 1):
        raise _unknown(name)
    columns = np.argmax(np.abs(matrix), axis=1)
    values = matrix[np.arange(len(matrix)), columns]
    states = np.arange(2**total)
    rows = sum(((states >> qubit) & 1) << bit for bit, qubit in enumerate(qubits))
    source = states & ~sum(1 << qubit for qubit in qubits)
    for bit, qubit in enumerate(qubits):
        source = source | (((columns[rows] >> bit) & 1) << qubit)
    phase = values[rows]
    return source, phase if np.any(phase.imag) else np.ascontiguousarray(phase.real)


def _kron(high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """Kronecker products of a batch of matrices; the left one acts on the more significant bits."""
    product = high[:, :, None, :, None] * low[:, None, :, None, :]
    rows, columns = high.shape[1] * low.shape[1], high.shape[2] * low.shape[2]
    return product.reshape(product.shape[0], rows, columns)


def _unknown(name: str) -> ConfigError:
    known = "single-qubit gates, rx, ry, rz, p and rzz with parameters, and fixed gates that permute basis states"
    remedy = "remove final measurements" if name == "measure" else "transpile the circuit to these gates"
    return ConfigError(f"the statevector engine does not know {name!r} in this place", known, remedy)
