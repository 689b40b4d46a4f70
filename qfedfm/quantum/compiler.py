"""From a Qiskit circuit to the operations of the statevector engine."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from qfedfm.core.errors import ConfigError
from qfedfm.quantum import gates
from qfedfm.quantum.operations import Dense, Diagonal, Factor, Local, Monomial, Operation, PauliRotation
from qfedfm.quantum.rotations import Group, Rotations
from qfedfm.quantum.steps import PARTED, Form, Gate, Step, steps_of

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

WIDTH = 4
"""Neighbouring qubits in a block at most: larger ones cost more arithmetic, smaller ones more passes over the state."""
REAL_WIDTH = 3
"""The same where the blocks of a large circuit are real."""
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

    Raises:
        ConfigError: a gate that the engine does not know, a measurement, or an angle that is not linear.
    """
    if circuit.num_qubits < 1:
        raise ConfigError("a circuit without qubits", "at least one")
    return _Plans(circuit.num_qubits, circuit.num_parameters, steps_of(circuit)).plan()


class _Plans:
    """Turns steps into operations; lives only while `plan_of` runs. Equal operations share their arrays."""

    def __init__(self, qubits: int, parameters: int, steps: list[Step]) -> None:
        self.qubits, self.parameters, self.steps = qubits, parameters, steps
        self.cache: dict[Hashable, Any] = {}
        self.spots: list[list[_Turn]] = []
        self.blocks: dict[tuple[int, bool], list[list[int]]] = {}

    def plan(self) -> Plan:
        makers: dict[str, Callable[[Step], Any]] = {
            "local": self._local, "real": self._local, "monomial": self._monomial, "dense": self._dense,
            "diagonal": self._diagonal, "pauli": self._pauli,
        }  # fmt: skip
        blocks, *others = [makers[step.kind](step) for step in self.steps]
        groups = sorted(self.blocks)

        def local(found: list[tuple[tuple[int, bool], int, int]]) -> Local:
            return Local(tuple((groups.index(group), number, low) for group, number, low in found))

        made = tuple(local(item) if isinstance(item, list) else item for item in others)
        tail = sum(1 for _ in takewhile(lambda operation: isinstance(operation, Monomial | Diagonal), reversed(made)))
        return _as_real(Plan(self._rotations(groups), local(blocks), made, tail))

    def _shared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]

    def _local(self, step: Step) -> list[tuple[tuple[int, bool], int, int]]:
        """The blocks as group, number in the group, 2 to the power of the lowest qubit; the first step's cover all.

        A group is a width and whether the matrices are real.
        """
        of: dict[int, int] = {}
        for qubit in sorted({gate.qubits[0] for gate in step.gates}):
            of[qubit] = len(self.spots)
            self.spots.append(_fused([gate for gate in step.gates if gate.qubits[0] == qubit]))
        count = -(-self.qubits // (REAL_WIDTH if step.kind == "real" else WIDTH))
        # wide blocks first: products over high bits run best where the bits below are at least four
        edges = [-(-self.qubits * number // count) for number in range(count + 1)]
        made = []
        for first, last in pairwise(edges):
            touched = [qubit for qubit in range(first, last) if qubit in of or step is self.steps[0]]
            if touched:
                block = [of.get(qubit, -1) for qubit in range(touched[0], touched[-1] + 1)]
                group = len(block), step.kind == "real"
                same = self.blocks.setdefault(group, [])
                same.append(block)
                made.append((group, len(same) - 1, 2 ** touched[0]))
        return made

    def _monomial(self, step: Step) -> Monomial:
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

    def _dense(self, step: Step) -> Dense:
        (gate,) = step.gates

        def make() -> tuple[np.ndarray, np.ndarray]:
            found = gates.highest(gate.qubits, self.qubits)
            return found, np.argsort(found)

        return Dense(gate.content, *self._shared(("dense", gate.qubits), make))

    def _diagonal(self, step: Step) -> Diagonal:
        low = self.qubits // 2 if self.qubits >= PARTED else self.qubits
        parts: dict[tuple[int, int], list[Gate]] = {}
        for gate in step.gates:
            above, below = min(gate.qubits) >= low, max(gate.qubits) < low
            bits = (low, self.qubits) if above else (0, low) if below else (0, self.qubits)
            parts.setdefault(bits, []).append(gate)
        factors = [self._factor(found, low, *bits) for bits, found in sorted(parts.items())]
        return Diagonal(tuple(factors), (2 ** (self.qubits - low), 2**low))

    def _factor(self, found: list[Gate], low: int, first: int, last: int) -> Factor:
        which = np.flatnonzero(np.any([gate.content[0] for gate in found], axis=0))
        C, c = np.zeros((len(which), 2 ** (last - first))), np.zeros(2 ** (last - first))
        for gate in found:
            (coefficients, constant), qubits = gate.content, tuple(qubit - first for qubit in gate.qubits)
            eigenvalues = gates.signs(qubits, last - first)
            for row in np.flatnonzero(coefficients[which]):
                C[row] += coefficients[which[row]] * eigenvalues
            c += constant * eigenvalues
        shape = 2 ** (last - max(first, low)), 2 ** (min(last, low) - first)
        return Factor(which, C, c, np.eye(self.parameters)[which], shape)

    def _pauli(self, step: Step) -> PauliRotation:
        (gate,) = step.gates
        key = (gate.what, *gate.qubits)
        source, phase = self._shared(key, lambda: gates.minus_i_pauli(str(gate.what), gate.qubits, self.qubits))
        return PauliRotation(source, phase, *gate.content)

    def _rotations(self, kinds: list[tuple[int, bool]]) -> Rotations:
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
        numbered = [np.array(self.blocks[kind]) for kind in kinds]
        groups = tuple(
            Group(numbers % len(spots), _traces(width, real=real), real)
            for numbers, (width, real) in zip(numbered, kinds, strict=True)
        )
        flat = np.concatenate([numbers.reshape(-1) for numbers in numbered]) % len(spots)
        back = np.zeros(len(spots), np.int64)
        back[flat] = np.arange(len(flat))
        return Rotations(W, b, which, cosine, sine, groups, back)


def _fused(sequence: list[Gate]) -> list[_Turn]:
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


def _traces(width: int, *, real: bool) -> np.ndarray:
    """See `Group`: entry (i, j) of a block counts in the part of qubit q where i and j agree on the other qubits."""
    i, j = np.divmod(np.arange(4**width), 2**width)
    made = np.zeros((4**width, width, 2, 2), float if real else complex)
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
