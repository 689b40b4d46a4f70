"""From a Qiskit circuit to the operations of the statevector engine."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from qfedfm.core.errors import ConfigError
from qfedfm.quantum import gates
from qfedfm.quantum.circuit import linear_form
from qfedfm.quantum.operations import Dense, Diagonal, Local, Monomial, Operation, PauliRotation
from qfedfm.quantum.rotations import Group, Rotations

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

WIDTH = 4
"""Neighbouring qubits in a block at most: larger ones cost more arithmetic, smaller ones more passes over the state."""
Form = tuple[np.ndarray, float]
"""Half an angle: the coefficients of the parameters and the constant part."""
_Turn = tuple[Form | None, np.ndarray, np.ndarray]
"""cos(φ/2)·C + sin(φ/2)·S: φ/2, None for 0; C; S."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a circuit is compiled to.

    Args:
        rotations: its single-qubit gates.
        first: those before everything else, in blocks that cover all qubits.
        operations: what follows.
        tail: so many of them at the end only permute basis states and turn their phases.
    """

    rotations: Rotations
    first: Local
    operations: tuple[Operation, ...]
    tail: int


def plan_of(circuit: QuantumCircuit) -> Plan:
    """Compiles a circuit.

    A gate goes to the latest operation of its own kind if it commutes with all after that one, by a plain rule: on each
    qubit that two share, both are diagonal.

    Raises:
        ConfigError: a gate that the engine does not know, a measurement, or an angle that is not linear.
    """
    if circuit.num_qubits < 1:
        raise ConfigError("a circuit without qubits", "at least one")
    order = {parameter: index for index, parameter in enumerate(circuit.parameters)}
    steps: list[_Step] = [_Step("local", dict.fromkeys(range(circuit.num_qubits), True))]
    for instruction in circuit.data:
        if instruction.operation.name != "barrier":
            qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
            _place(steps, _read(instruction.operation, qubits, order))
    return _Plans(circuit.num_qubits, len(order), steps).plan()


@dataclass(frozen=True, eq=False)
class _Gate:
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


@dataclass(frozen=True, eq=False)
class _Step:
    """Gates of one kind that become one operation; ``flat`` says of each qubit whether all of them are diagonal."""

    kind: str
    flat: dict[int, bool]
    gates: list[_Gate] = field(default_factory=list)

    def commutes(self, gate: _Gate) -> bool:
        return all(self.flat[qubit] and gate.flat for qubit in gate.qubits if qubit in self.flat)


def _read(operation: Any, qubits: tuple[int, ...], order: dict[Any, int]) -> _Gate:
    name = operation.name
    if gates.free(operation):
        if name not in gates.GENERATORS and name not in gates.PAIRS:
            raise gates.unknown(name)
        coefficients, constant = linear_form(operation.params[0], order)
        form: Form = coefficients / 2, constant / 2
        kind = "local" if len(qubits) == 1 else "diagonal" if name == "rzz" else "pauli"
        return _Gate(kind, qubits, name in ("rz", "p", "rzz"), name, form)
    controls = gates.flip(operation)
    if controls is not None and len(qubits) > 1:
        return _Gate("monomial", qubits, False, (controls, qubits), controls)
    matrix = gates.matrix_of(operation)
    flat = np.count_nonzero(matrix - np.diag(np.diag(matrix))) == 0
    kind = "local" if len(qubits) == 1 else "monomial" if gates.is_monomial(matrix) else "dense"
    return _Gate(kind, qubits, flat, (matrix.tobytes(), qubits), matrix)


def _place(steps: list[_Step], gate: _Gate) -> None:
    if gate.kind in ("local", "monomial", "diagonal"):
        for step in reversed(steps):
            if step.kind == gate.kind:
                step.gates.append(gate)
                step.flat.update({qubit: gate.flat and step.flat.get(qubit, True) for qubit in gate.qubits})
                return
            if not step.commutes(gate):
                break
    steps.append(_Step(gate.kind, dict.fromkeys(gate.qubits, gate.flat), [gate]))


class _Plans:
    """Turns steps into operations; lives only while `plan_of` runs. Equal operations share their arrays."""

    def __init__(self, qubits: int, parameters: int, steps: list[_Step]) -> None:
        self.qubits, self.parameters, self.steps = qubits, parameters, steps
        self.cache: dict[Hashable, Any] = {}
        self.spots: list[list[_Turn]] = []
        self.blocks: dict[int, list[list[int]]] = {}

    def plan(self) -> Plan:
        makers: dict[str, Callable[[_Step], Any]] = {
            "local": self._local, "monomial": self._monomial, "dense": self._dense, "diagonal": self._diagonal,
            "pauli": self._pauli,
        }  # fmt: skip
        blocks, *others = [makers[step.kind](step) for step in self.steps]
        widths = sorted(self.blocks)

        def local(found: list[tuple[int, int, int]]) -> Local:
            return Local(tuple((widths.index(width), number, low) for width, number, low in found))

        made = tuple(local(item) if isinstance(item, list) else item for item in others)
        tail = sum(1 for _ in takewhile(lambda operation: isinstance(operation, Monomial | Diagonal), reversed(made)))
        return _as_real(Plan(self._rotations(widths), local(blocks), made, tail))

    def _shared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]

    def _local(self, step: _Step) -> list[tuple[int, int, int]]:
        """The blocks as width, number among those of this width, lowest bit; the first step's cover all qubits."""
        of: dict[int, int] = {}
        for qubit in sorted({gate.qubits[0] for gate in step.gates}):
            of[qubit] = len(self.spots)
            self.spots.append(_fused([gate for gate in step.gates if gate.qubits[0] == qubit]))
        count = -(-self.qubits // WIDTH)
        # wide blocks first: products over high bits run best where the bits below are at least four
        edges = [-(-self.qubits * number // count) for number in range(count + 1)]
        made = []
        for first, last in pairwise(edges):
            touched = [qubit for qubit in range(first, last) if qubit in of or step is self.steps[0]]
            if touched:
                block = [of.get(qubit, -1) for qubit in range(touched[0], touched[-1] + 1)]
                same = self.blocks.setdefault(len(block), [])
                same.append(block)
                made.append((len(block), len(same) - 1, 2 ** touched[0]))
        return made

    def _monomial(self, step: _Step) -> Monomial:
        def make() -> Monomial:
            source, phase = np.arange(2**self.qubits), np.ones(2**self.qubits, complex)
            for gate in step.gates:
                if isinstance(gate.content, tuple):
                    moved, factor = gates.flipped(gate.content, gate.qubits, self.qubits), None
                else:
                    moved, factor = gates.embedded(gate.content, gate.qubits, self.qubits)
                source, phase = source[moved], phase[moved]
                phase = phase if factor is None else phase * factor
            still = np.array_equal(source, np.arange(len(source)))
            constant = np.allclose(phase, phase[0], rtol=0, atol=1e-15)  # a global phase
            return Monomial(
                None if still else source, None if still else np.argsort(source), None if constant else phase
            )

        made: Monomial = self._shared(("monomial", *(gate.what for gate in step.gates)), make)
        return made

    def _dense(self, step: _Step) -> Dense:
        (gate,) = step.gates

        def make() -> tuple[np.ndarray, np.ndarray]:
            found = gates.highest(gate.qubits, self.qubits)
            return found, np.argsort(found)

        return Dense(gate.content, *self._shared(("dense", gate.qubits), make))

    def _diagonal(self, step: _Step) -> Diagonal:
        which = np.flatnonzero(np.any([gate.content[0] for gate in step.gates], axis=0))
        C, c = np.zeros((len(which), 2**self.qubits)), np.zeros(2**self.qubits)
        for gate in step.gates:
            (coefficients, constant), eigenvalues = gate.content, gates.signs(gate.qubits, self.qubits)
            for row in np.flatnonzero(coefficients[which]):
                C[row] += coefficients[which[row]] * eigenvalues
            c += constant * eigenvalues
        return Diagonal(which, C, c, np.eye(self.parameters)[which])

    def _pauli(self, step: _Step) -> PauliRotation:
        (gate,) = step.gates
        key = (gate.what, *gate.qubits)
        source, phase = self._shared(key, lambda: gates.minus_i_pauli(str(gate.what), gate.qubits, self.qubits))
        return PauliRotation(source, phase, *gate.content)

    def _rotations(self, widths: list[int]) -> Rotations:
        nothing: _Turn = (None, np.eye(2, dtype=complex), np.zeros((2, 2), complex))
        spots: list[list[_Turn]] = [*self.spots, [nothing]]
        forms = [form for spot in spots for form, _, _ in spot if form is not None]
        depth = max(len(spot) for spot in spots)
        which = np.full((depth, len(spots)), len(forms))
        cosine, sine = np.zeros((2, depth, len(spots), 2, 2), complex)
        cosine[:] = np.eye(2)
        number = 0
        for place, spot in enumerate(spots):
            for gate, (form, C, S) in enumerate(spot):
                cosine[gate, place], sine[gate, place] = C, S
                if form is not None:
                    which[gate, place], number = number, number + 1
        W = np.array([*(form[0] for form in forms), np.zeros(self.parameters)]).reshape(len(forms) + 1, self.parameters)
        b = np.array([*(form[1] for form in forms), 0.0], np.float64)
        numbered = [np.array(self.blocks[width]) for width in widths]
        groups = tuple(Group(numbers % len(spots), _traces(numbers.shape[1])) for numbers in numbered)
        flat = np.concatenate([numbers.reshape(-1) for numbers in numbered]) % len(spots)
        back = np.zeros(len(spots), np.int64)
        back[flat] = np.arange(len(flat))
        return Rotations(W, b, which, cosine, sine, groups, back)


def _fused(sequence: list[_Gate]) -> list[_Turn]:
    """A qubit's gates in one step as cos(φ/2)·C + sin(φ/2)·S each, fixed ones multiplied into their neighbours."""
    made: list[_Turn] = []
    before = np.eye(2, dtype=complex)
    for gate in sequence:
        if isinstance(gate.content, tuple):
            made.append((gate.content, before, gates.GENERATORS[str(gate.what)] @ before))
            before = np.eye(2, dtype=complex)
        elif made:
            form, C, S = made[-1]
            made[-1] = form, gate.content @ C, gate.content @ S
        else:
            before = gate.content @ before
    return made or [(None, before, np.zeros((2, 2), complex))]


def _traces(width: int) -> np.ndarray:
    """See `Group`: entry (i, j) of a block counts in the part of qubit q where i and j agree on the other qubits."""
    i, j = np.divmod(np.arange(4**width), 2**width)
    made = np.zeros((4**width, width, 2, 2), complex)
    for qubit in range(width):
        alike = np.flatnonzero((i ^ j) & ~(1 << qubit) == 0)
        made[alike, qubit, i[alike] >> qubit & 1, j[alike] >> qubit & 1] = 1
    return made.reshape(4**width, 4 * width)


def _as_real(plan: Plan) -> Plan:
    """The same plan with real arrays where nothing in it needs complex ones."""
    if any(isinstance(operation, Diagonal | PauliRotation) for operation in plan.operations):
        return plan
    phases = [item.phase for item in plan.operations if isinstance(item, Monomial) and item.phase is not None]
    matrices = [item.matrix for item in plan.operations if isinstance(item, Dense)]
    if any(np.any(array.imag) for array in (plan.rotations.cosine, plan.rotations.sine, *phases, *matrices)):
        return plan
    rotations = plan.rotations
    groups = tuple(replace(group, traces=_real(group.traces)) for group in rotations.groups)
    rotations = replace(rotations, cosine=_real(rotations.cosine), sine=_real(rotations.sine), groups=groups)
    return replace(plan, rotations=rotations, operations=tuple(map(_real_operation, plan.operations)))


def _real(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.real)


def _real_operation(operation: Operation) -> Operation:
    if isinstance(operation, Monomial) and operation.phase is not None:
        return replace(operation, phase=_real(operation.phase))
    return replace(operation, matrix=_real(operation.matrix)) if isinstance(operation, Dense) else operation
