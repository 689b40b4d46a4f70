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
        overlaps: filled on the way back: Σ ψλ† of each block of each group, its real part where the block is real.
        gradient: filled on the way back: the gradient in θ of everything that is no single-qubit gate.
    """

    theta: Float64[Array, "b p"]
    turned: Turned
    inverse: tuple[Array, ...] = ()
    overlaps: tuple[Array, ...] = ()
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
            sweep.overlaps[group][:, number] = found

    def start(self, sweep: Sweep, out: Array) -> None:
        """U |0…0⟩ of blocks that cover all qubits, into ``out``: a product of the matrices' first columns."""
        state, *above = (sweep.turned.blocks[group][:, number, :, 0] for group, number, _ in self.blocks)
        for column in above[:-1]:
            state = (column[:, :, None] * state[:, None]).reshape(len(column), -1)
        if above:
            shape = *above[-1].shape, -1
            library(out).multiply(above[-1][:, :, None], state[:, None], out=out.reshape(shape))
        else:
            out[:] = state


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
class Factor:
    """Phases exp(−i(θC + c)) that depend on the high bits, the low bits or all bits of a basis state.

    Args:
        which: the parameters that occur in them.
        C: half the sum of the gates' eigenvalues ±1, times what the parameter counts in each.
        c: half the sum of the eigenvalues times the angles' constant parts.
        scatter: which × p, ones where they belong.
        shape: the phases' number as high × low, 1 where these bits do not matter.
    """

    which: Int64[Array, " q"]
    C: Float64[Array, "q m"]
    c: Float64[Array, " m"]
    scatter: Float64[Array, "q p"]
    shape: tuple[int, int]

    def phases(self, sweep: Sweep, sign: complex) -> Array:
        """exp(sign · (θC + c)), b × high × low."""
        exponent = gather(sweep.theta, self.which) @ self.C + self.c
        return library(exponent).exp(sign * exponent).reshape(len(exponent), *self.shape)


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Rotations exp(−iφ Z⊗Z/2) and exp(−iφ Z/2) side by side, as a product of phases.

    Args:
        factors: at least one.
        shape: of the basis states, as high × low.
    """

    factors: tuple[Factor, ...]
    shape: tuple[int, int]

    def apply(self, pair: Pair, sweep: Sweep) -> Pair:
        """U ψ."""
        return self._turned(pair, sweep, -1j)

    def undo(self, pair: Pair, sweep: Sweep) -> Pair:
        """U† ψ."""
        return self._turned(pair, sweep, 1j)

    def _turned(self, pair: Pair, sweep: Sweep, sign: complex) -> Pair:
        states, other = pair
        phases = self.factors[0].phases(sweep, sign)
        for factor in self.factors[1:]:
            room = other.reshape(len(phases), -1, *self.shape)[:, 0]
            phases = library(phases).multiply(phases, factor.phases(sweep, sign), out=room)
        view = states.reshape(*states.shape[:-1], *self.shape)
        view *= phases.reshape(len(phases), *(1,) * (states.ndim - 2), *phases.shape[1:])
        return states, other

    def collect(self, state: Array, cotangent: Array, sweep: Sweep) -> None:
        """Re⟨λ, −iC ψ⟩ for each parameter."""
        slopes = (cotangent.conj() * state).imag.reshape(len(state), *self.shape)
        for factor in self.factors:
            apart = [axis + 1 for axis in (0, 1) if factor.shape[axis] != self.shape[axis]]
            found = slopes.sum(tuple(apart)) if apart else slopes
            sweep.gradient.append(found.reshape(len(state), -1) @ factor.C.T @ factor.scatter)


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
