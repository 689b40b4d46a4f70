"""The operations of a compiled circuit: how each acts on states, how it is undone, and what its angles contribute."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float64, Int64

from qfedfm.quantum.arrays import Array, act, dagger, gather, library, overlap
from qfedfm.quantum.rotations import Turned


@dataclass(frozen=True, eq=False)
class Sweep:
    """What one pass through a circuit knows besides the states.

    Args:
        theta: the parameters.
        turned: the matrices of the single-qubit gates.
        inverse: their conjugate transposes; empty on the way forward.
        overlaps: filled on the way back: Σ ψλ† of each block of each group.
        gradient: filled on the way back: the gradient in θ of everything that is no single-qubit gate.
    """

    theta: Float64[Array, "b p"]
    turned: Turned
    inverse: tuple[Array, ...] = ()
    overlaps: tuple[dict[int, Array], ...] = ()
    gradient: list[Float64[Array, "b p"]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Local:
    """Gates on single qubits, as blocks of neighbours.

    Args:
        blocks: group, number in the group, 2 to the power of the lowest qubit.
    """

    blocks: tuple[tuple[int, int, int], ...]

    def apply(self, states: Array, sweep: Sweep) -> Array:
        """U ψ."""
        for group, number, low in self.blocks:
            states = act(sweep.turned.blocks[group][:, number], states, low)
        return states

    def undo(self, states: Array, sweep: Sweep) -> Array:
        """U† ψ."""
        for group, number, low in self.blocks:
            states = act(sweep.inverse[group][:, number], states, low)
        return states

    def collect(self, state: Array, cotangent: Array, sweep: Sweep) -> None:
        """Notes what the state after the operation and its cotangent say about the angles."""
        for group, number, low in self.blocks:
            d = sweep.turned.blocks[group].shape[-1]
            sweep.overlaps[group][number] = overlap(state, cotangent, d, low)

    def start(self, sweep: Sweep) -> Array:
        """U |0…0⟩ of blocks that cover all qubits: a product of the matrices' first columns."""
        state = None
        for group, number, _ in self.blocks:
            column = sweep.turned.blocks[group][:, number, :, 0]
            state = column if state is None else (column[:, :, None] * state[:, None]).reshape(len(column), -1)
        return state


@dataclass(frozen=True, eq=False)
class Monomial:
    """Fixed gates that permute basis states and multiply them by phases: ψ'[k] = phase[k] · ψ[source[k]].

    Args:
        source: None where no state moves.
        inverse: of ``source``.
        phase: None where all are 1.
    """

    source: Int64[Array, " n"] | None
    inverse: Int64[Array, " n"] | None
    phase: Array | None

    def apply(self, states: Array, sweep: Sweep) -> Array:
        """U ψ."""
        states = states if self.source is None else gather(states, self.source)
        return states if self.phase is None else states * self.phase

    def undo(self, states: Array, sweep: Sweep) -> Array:
        """U† ψ."""
        states = states if self.phase is None else states * self.phase.conj()
        return states if self.inverse is None else gather(states, self.inverse)

    def collect(self, state: Array, cotangent: Array, sweep: Sweep) -> None:
        """Nothing: it has no angles."""


@dataclass(frozen=True, eq=False)
class Dense:
    """A fixed gate on k qubits that is not monomial.

    Args:
        matrix: 2ᵏ × 2ᵏ.
        order: basis states with those qubits in the highest bits.
        inverse: of ``order``.
    """

    matrix: Array
    order: Int64[Array, " n"]
    inverse: Int64[Array, " n"]

    def apply(self, states: Array, sweep: Sweep) -> Array:
        """U ψ."""
        return self._with(self.matrix, states)

    def undo(self, states: Array, sweep: Sweep) -> Array:
        """U† ψ."""
        return self._with(dagger(self.matrix), states)

    def _with(self, matrix: Array, states: Array) -> Array:
        view = gather(states, self.order).reshape(*states.shape[:-1], len(matrix), -1)
        return gather((matrix @ view).reshape(states.shape), self.inverse)

    def collect(self, state: Array, cotangent: Array, sweep: Sweep) -> None:
        """Nothing: it has no angles."""


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Rotations exp(−iφ Z⊗Z/2) side by side, as one vector of phases exp(−i(θC + c)).

    Args:
        which: the parameters that occur in them.
        C: half the sum of the gates' eigenvalues ±1, times what the parameter counts in each.
        c: half the sum of the eigenvalues times the angles' constant parts.
        scatter: which × p, ones where they belong.
    """

    which: Int64[Array, " q"]
    C: Float64[Array, "q n"]
    c: Float64[Array, " n"]
    scatter: Float64[Array, "q p"]

    def apply(self, states: Array, sweep: Sweep) -> Array:
        """U ψ."""
        return self._turned(states, sweep, -1j)

    def undo(self, states: Array, sweep: Sweep) -> Array:
        """U† ψ."""
        return self._turned(states, sweep, 1j)

    def _turned(self, states: Array, sweep: Sweep, sign: complex) -> Array:
        exponent = gather(sweep.theta, self.which) @ self.C + self.c
        phase = library(exponent).exp(sign * exponent)
        return states * phase.reshape(len(phase), *(1,) * (states.ndim - 2), -1)

    def collect(self, state: Array, cotangent: Array, sweep: Sweep) -> None:
        """Re⟨λ, −iC ψ⟩ for each parameter."""
        sweep.gradient.append((cotangent.conj() * state).imag @ self.C.T @ self.scatter)


@dataclass(frozen=True, eq=False)
class PauliRotation:
    """exp(−iφP/2) = cos(φ/2) − i sin(φ/2) P for a product P of Pauli operators; (−iPψ)[k] = phase[k] · ψ[source[k]].

    Args:
        source: its own inverse.
        phase: complex.
        form: φ/2 = θ · form + offset.
        offset: radians.
    """

    source: Int64[Array, " n"]
    phase: Array
    form: Float64[Array, " p"]
    offset: float

    def apply(self, states: Array, sweep: Sweep) -> Array:
        """U ψ."""
        return self._turned(states, sweep, 1.0)

    def undo(self, states: Array, sweep: Sweep) -> Array:
        """U† ψ."""
        return self._turned(states, sweep, -1.0)

    def _turned(self, states: Array, sweep: Sweep, sign: float) -> Array:
        half = (sweep.theta @ self.form + self.offset).reshape(-1, *(1,) * (states.ndim - 1))
        xp = library(half)
        return xp.cos(half) * states + (sign * xp.sin(half)) * (gather(states, self.source) * self.phase)

    def collect(self, state: Array, cotangent: Array, sweep: Sweep) -> None:
        """Re⟨λ, −iPψ⟩, of which half is the slope in φ."""
        slope = (cotangent.conj() * (gather(state, self.source) * self.phase)).real.sum(-1)
        sweep.gradient.append(slope[:, None] * self.form)


Operation = Local | Monomial | Dense | Diagonal | PauliRotation
