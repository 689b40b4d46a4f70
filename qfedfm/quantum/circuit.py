"""A parametrised circuit as the library passes it around: it knows what it computes and never where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from qfedfm.core.errors import ConfigError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from qfedfm.quantum.statevector import Program


_TWO_TERMS = ("rx", "ry", "rz", "p", "rxx", "ryy", "rzz")
"""Gates whose generator has two eigenvalues one apart, so that shifts by ±π/2 give the derivative."""


@dataclass(frozen=True, eq=False)
class Circuit:
    """A Qiskit circuit that is not changed any more, with what is computed from it once.

    Compared by identity, so that an executor can keep what it made of it (a compiled program, a transpiled circuit).

    Args:
        qiskit: the definition, without measurements; its parameters in the order of ``qiskit.parameters``.
        like: the circuit that this one was made of and whose place on a device it takes, if any: what is measured with
            one belongs to the other only where both ran on the same qubits.
    """

    qiskit: QuantumCircuit
    like: Circuit | None = None

    def variant(self, qiskit: QuantumCircuit) -> Circuit:
        """Another circuit that takes the place of this one on a device."""
        return Circuit(qiskit, self.like or self)

    @cached_property
    def folds(self) -> dict[int, Circuit]:
        """This circuit with as many times its noise, by that number; filled by who makes them."""
        return {}

    @property
    def qubits(self) -> int:
        """The number of qubits n; there are 2ⁿ outcomes, qubit 0 the least significant bit of an outcome's number."""
        return int(self.qiskit.num_qubits)

    @property
    def parameters(self) -> int:
        """The number of parameters P."""
        return int(self.qiskit.num_parameters)

    @cached_property
    def program(self) -> Program:
        """The circuit compiled for the statevector engine."""
        from qfedfm.quantum.statevector import compile_circuit

        return compile_circuit(self.qiskit)

    @cached_property
    def unrolled(self) -> Unrolled:
        """The same circuit with one parameter for each gate that has one.

        Raises:
            ConfigError: a gate with a parameter is no rotation about a Pauli operator, or its angle is not linear.
        """
        return _unroll(self)


@dataclass(frozen=True, eq=False)
class Unrolled:
    """A circuit whose gates each have their own angle: angles = W θ + b.

    Args:
        circuit: the circuit over the angles.
        W: how many times each parameter of the original counts in each angle.
        b: the constant part of each angle, in radians.
    """

    circuit: Circuit
    W: Float64[np.ndarray, "g p"]
    b: Float64[np.ndarray, " g"]


def linear_form(expression: Any, order: dict[Any, int]) -> tuple[Float64[np.ndarray, " p"], float]:
    """The coefficients of a gate's angle in the circuit's parameters, and its constant part.

    Raises:
        ConfigError: the angle is not linear in the parameters.
    """
    coefficients = np.zeros(len(order))
    for parameter in expression.parameters:
        slope = expression.gradient(parameter)
        if isinstance(slope, int | float):
            coefficients[order[parameter]] = float(slope)
        else:
            raise ConfigError(f"the angle {expression}", "an angle that is linear in the parameters")
    at_zero = expression.bind(dict.fromkeys(expression.parameters, 0.0))
    return coefficients, float(at_zero.numeric())


def _unroll(original: Circuit) -> Unrolled:
    from qiskit.circuit import ParameterExpression, ParameterVector

    order = {parameter: index for index, parameter in enumerate(original.qiskit.parameters)}
    for gate in original.qiskit.data:
        free = any(isinstance(value, ParameterExpression) for value in gate.operation.params)
        if free and gate.operation.name not in _TWO_TERMS:
            given = f"a gate {gate.operation.name!r} with a parameter"
            raise ConfigError(given, f"one of {', '.join(_TWO_TERMS)}", "its generator needs more than two shifts")
    occurrences = [
        (position, linear_form(gate.operation.params[0], order))
        for position, gate in enumerate(original.qiskit.data)
        if any(isinstance(value, ParameterExpression) for value in gate.operation.params)
    ]
    angles = ParameterVector("angle", len(occurrences))
    circuit = original.qiskit.copy_empty_like()
    which = {position: index for index, (position, _) in enumerate(occurrences)}
    for position, gate in enumerate(original.qiskit.data):
        operation = gate.operation
        if position in which:
            operation = operation.to_mutable()
            operation.params = [angles[which[position]]]
        circuit.append(operation, gate.qubits)
    W = np.array([form[0] for _, form in occurrences]).reshape(len(occurrences), len(order))
    return Unrolled(Circuit(circuit), W, np.array([form[1] for _, form in occurrences], np.float64))
