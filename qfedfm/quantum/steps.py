"""From the gates of a Qiskit circuit to steps: gates of one kind that the statevector engine does at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from qfedfm.quantum import gates
from qfedfm.quantum.circuit import linear_form

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

PARTED = 14
"""From so many qubits on a layer of complex gates is done as its real part and, apart from it, its phases."""
Form = tuple[np.ndarray, float]
"""Half an angle: the coefficients of the parameters and the constant part."""


@dataclass(frozen=True, eq=False)
class Gate:
    """A gate on its way into a step.

    Args:
        kind: of the step: local, monomial, diagonal, dense or pauli.
        qubits: that it acts on.
        flat: whether it is diagonal.
        what: equal for equal gates.
        content: a matrix, a form, or what `gates.flip` says.
    """

    kind: str
    qubits: tuple[int, ...]
    flat: bool
    what: Hashable
    content: Any

    @property
    def real(self) -> bool:
        """Whether its matrix is."""
        if isinstance(self.content, tuple):
            return self.kind == "monomial" or self.what == "ry"
        return not np.any(self.content.imag)


@dataclass(frozen=True, eq=False)
class Step:
    """Gates of one kind that become one operation; ``flat`` says of each qubit whether all of them are diagonal."""

    kind: str
    flat: dict[int, bool]
    gates: list[Gate] = field(default_factory=list)

    def commutes(self, gate: Gate) -> bool:
        """By a plain rule: on each qubit that they share, both are diagonal."""
        return all(self.flat[qubit] and gate.flat for qubit in gate.qubits if qubit in self.flat)


def steps_of(circuit: QuantumCircuit) -> list[Step]:
    """The steps of a circuit; the first one is local, and holds every qubit.

    A gate goes to the latest step of its own kind if it commutes with all after that one.

    Raises:
        ConfigError: a gate that the engine does not know, a measurement, or an angle that is not linear.
    """
    order = {parameter: index for index, parameter in enumerate(circuit.parameters)}
    steps: list[Step] = [Step("local", dict.fromkeys(range(circuit.num_qubits), True))]
    for instruction in circuit.data:
        if instruction.operation.name != "barrier":
            qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
            _place(steps, _read(instruction.operation, qubits, order))
    real = all(gate.real for step in steps for gate in step.gates)
    return steps if real or circuit.num_qubits < PARTED else _all_parted(steps, len(order))


def _read(operation: Any, qubits: tuple[int, ...], order: dict[Any, int]) -> Gate:
    name = operation.name
    if gates.free(operation):
        if name not in gates.GENERATORS and name not in gates.PAIRS:
            raise gates.unknown(name)
        coefficients, constant = linear_form(operation.params[0], order)
        form: Form = coefficients / 2, constant / 2
        kind = "local" if len(qubits) == 1 else "diagonal" if name == "rzz" else "pauli"
        return Gate(kind, qubits, name in ("rz", "p", "rzz"), name, form)
    controls = gates.flip(operation)
    if controls is not None and len(qubits) > 1:
        return Gate("monomial", qubits, False, (controls, qubits), controls)
    matrix = gates.matrix_of(operation)
    flat = np.count_nonzero(matrix - np.diag(np.diag(matrix))) == 0
    kind = "local" if len(qubits) == 1 else "monomial" if gates.is_monomial(matrix) else "dense"
    return Gate(kind, qubits, flat, (matrix.tobytes(), qubits), matrix)


def _place(steps: list[Step], gate: Gate) -> None:
    if gate.kind in ("local", "monomial", "diagonal"):
        for step in reversed(steps):
            if step.kind == gate.kind:
                step.gates.append(gate)
                step.flat.update({qubit: gate.flat and step.flat.get(qubit, True) for qubit in gate.qubits})
                return
            if not step.commutes(gate):
                break
    steps.append(Step(gate.kind, dict.fromkeys(gate.qubits, gate.flat), [gate]))


def _all_parted(steps: list[Step], parameters: int) -> list[Step]:
    """The same circuit with each local step but the first, which starts from |0…0⟩ anyway, parted where it can be.

    Complex states are pairs of real numbers, on which a real matrix costs a third of a complex one.
    """
    made = steps[:1]
    for step in steps[1:]:
        for part in _parted(step, parameters) if step.kind == "local" else [step]:
            if part.kind == made[-1].kind == "diagonal":
                made[-1].gates.extend(part.gates)
            else:
                made.append(part)
    return made


def _parted(step: Step, parameters: int) -> list[Step]:
    """Phases, real matrices, phases; the step itself if on some qubit phases are between real matrices."""
    before, real, after = list[Gate](), list[Gate](), list[Gate]()
    for qubit in step.flat:
        sequence = [part for gate in step.gates if gate.qubits == (qubit,) for part in _split(gate, parameters)]
        first = _diagonals(sequence)
        last = _diagonals(sequence[len(first) :][::-1])[::-1]
        middle = sequence[len(first) : len(sequence) - len(last)]
        if any(gate.kind == "diagonal" for gate in middle):
            return [step]
        before, real, after = before + first, real + middle, after + last
    parts = Step("diagonal", {}, before), Step("real", {}, real), Step("diagonal", {}, after)
    return [part for part in parts if part.gates]


def _diagonals(sequence: Iterable[Gate]) -> list[Gate]:
    return list(takewhile(lambda gate: gate.kind == "diagonal", sequence))


def _split(gate: Gate, parameters: int) -> list[Gate]:
    """A gate on one qubit, up to a global phase, as phases and a real matrix; U = RZ(α) RY(β) RZ(γ) in general."""
    free = isinstance(gate.content, tuple)
    if free and gate.what != "rx":
        return [replace(gate, kind="diagonal") if gate.flat else gate]

    def phases(half: float) -> list[Gate]:
        form: Form = np.zeros(parameters), half
        return [Gate("diagonal", gate.qubits, True, "rz", form)] if abs(np.sin(half)) > gates.ZERO else []

    if free:
        return [*phases(np.pi / 4), replace(gate, what="ry"), *phases(-np.pi / 4)]
    unit = gate.content / np.sqrt(complex(np.linalg.det(gate.content)))
    for real, rest in ((unit.real, unit.imag), (unit.imag, unit.real)):
        if np.abs(rest).max() < gates.ZERO:
            return [replace(gate, content=real.astype(complex))]
    if gate.flat:
        return phases(np.angle(unit[1, 1]))
    (_, _), (sine, cosine) = unit
    turn = np.array([[abs(cosine), -abs(sine)], [abs(sine), abs(cosine)]], complex)
    last, first = np.angle(cosine) + np.angle(sine), np.angle(cosine) - np.angle(sine)
    return [*phases(first / 2), replace(gate, content=turn), *phases(last / 2)]
