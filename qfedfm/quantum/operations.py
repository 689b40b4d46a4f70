"""The operations of a compiled circuit: how each acts on states, how it is undone, and what its angles contribute.

An operation takes the states and an array like them, `Pair`, and gives back the two in either order, the result first:
fresh memory would cost more than the arithmetic. What was in them before is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from jaxtyping import Float64, Int64

from qfedfm.quantum.arrays import Array, act, dagger, gather, is_complex, library, overlap
from qfedfm.quantum.rotations import Turned

Pair: TypeAlias = tuple[Array, Array]
"""States, and an array of their shape and type whose contents do not matter."""


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

    def apply(self, pair: Pair, sweep: Sweep) -> Pair:
        """U ψ."""
        return self._with(sweep.turned.blocks, pair)

    def undo(self, pair: Pair, sweep: Sweep) -> Pair:
        """U† ψ."""
        return self._with(sweep.inverse, pair)

    def _with(self, blocks: tuple[Array, ...], pair: Pair) -> Pair:
        states, other = pair
        for group, number, low in self.blocks:
            act(blocks[group][:, number], states, low, other)
            states, other = other, states
        return states, other

    def collect(self, state: Array, cotangent: Array, sweep: Sweep) -> None:
        """Notes what the state after the operation and its cotangent say about the angles."""
        for group, number, low in self.blocks:
            blocks = sweep.turned.blocks[group]
            found = overlap(state, cotangent, blocks.shape[-1], low, not is_complex(blocks))
            sweep.overlaps[group][number] = found

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

    def apply(self, pair: Pair, sweep: Sweep) -> Pair:
        """U ψ."""
        states, other = pair
        if self.source is not None:
            states, other = gather(states, self.source, other), states
        if self.phase is not None:
            states *= self.phase
        return states, other

    def undo(self, pair: Pair, sweep: Sweep) -> Pair:
        """U† ψ."""
        states, other = pair
        if self.phase is not None:
            states *= self.phase.conj()
        return (states, other) if self.inverse is None else (gather(states, self.inverse, other), states)

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

    def apply(self, pair: Pair, sweep: Sweep) -> Pair:
        """U ψ."""
        return self._with(self.matrix, pair)

    def undo(self, pair: Pair, sweep: Sweep) -> Pair:
        """U† ψ."""
        return self._with(dagger(self.matrix), pair)

    def _with(self, matrix: Array, pair: Pair) -> Pair:
        states, other = pair
        shape = *states.shape[:-1], len(matrix), -1
        other = gather(states, self.order, other)
        library(states).matmul(matrix, other.reshape(shape), out=states.reshape(shape))
        return gather(states, self.inverse, other), states

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

    def apply(self, pair: Pair, sweep: Sweep) -> Pair:
        """U ψ."""
        return self._turned(pair, sweep, -1j)

    def undo(self, pair: Pair, sweep: Sweep) -> Pair:
        """U† ψ."""
        return self._turned(pair, sweep, 1j)

    def _turned(self, pair: Pair, sweep: Sweep, sign: complex) -> Pair:
        states, other = pair
        exponent = gather(sweep.theta, self.which) @ self.C + self.c
        phase = library(exponent).exp(sign * exponent)
        states *= phase.reshape(len(phase), *(1,) * (states.ndim - 2), -1)
        return states, other

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

    def apply(self, pair: Pair, sweep: Sweep) -> Pair:
        """U ψ."""
        return self._turned(pair, sweep, 1.0)

    def undo(self, pair: Pair, sweep: Sweep) -> Pair:
        """U† ψ."""
        return self._turned(pair, sweep, -1.0)

    def _turned(self, pair: Pair, sweep: Sweep, sign: float) -> Pair:
        states, other = pair
        half = (sweep.theta @ self.form + self.offset).reshape(-1, *(1,) * (states.ndim - 1))
        xp = library(half)
        other = gather(states, self.source, other)
        other *= self.phase
        other *= sign * xp.sin(half)
        states *= xp.cos(half)
        states += other
        return states, other

    def collect(self, state: Array, cotangent: Array, sweep: Sweep) -> None:
        """Re⟨λ, −iPψ⟩, of which half is the slope in φ."""
        slope = (cotangent.conj() * (gather(state, self.source) * self.phase)).real.sum(-1)
        sweep.gradient.append(slope[:, None] * self.form)


Operation = Local | Monomial | Dense | Diagonal | PauliRotation
