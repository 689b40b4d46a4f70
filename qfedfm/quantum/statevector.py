"""A statevector engine: a Qiskit circuit compiled once, run for a batch of parameters, with its adjoint by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float64
from torch.autograd.function import once_differentiable

from qfedfm.core.errors import ConfigError
from qfedfm.quantum.arrays import Array, blank, dagger, gather, moved, squares
from qfedfm.quantum.compiler import Plan, plan_of
from qfedfm.quantum.operations import Monomial, Pair, Sweep

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_AMPLITUDES = 2**13
"""Of the states of a batch, so many at a time go through the circuit on a CPU: they stay in its caches."""


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled circuit. Qubit 0 is the least significant bit of a basis state's number, as in Qiskit.

    Real circuits (RY, CNOT, CZ, H …) run in float64, others in complex128. The gradient takes one sweep back through
    the circuit, which undoes its operations while it carries the cotangent along: it needs the memory of two states
    whatever the depth, and the time of a few runs.
    Jones & Gacon, arXiv 2009.02823 (2020), Algorithm 1.
    Differs from the paper: it multiplies blocks of fused gates, and takes the derivatives of a block's angles from the
    overlap Σ ψλ† reduced to single qubits, not from an inner product for each gate.

    Args:
        qubits: n.
        parameters: P.
        plan: the operations.
    """

    qubits: int
    parameters: int
    plan: Plan
    _moved: dict[torch.device, Plan] = field(default_factory=dict)

    def probabilities(self, theta: Float64[torch.Tensor, "b p"]) -> Float64[torch.Tensor, "b n"]:
        """|⟨k|U(θ)|0⟩|² for k < 2ⁿ, one line for each line of parameters, on their device; differentiable once.

        Raises:
            ConfigError: the number of parameters is not the circuit's.
        """
        if theta.requires_grad and torch.is_grad_enabled():
            found: torch.Tensor = _Probabilities.apply(theta, self)  # type: ignore[no-untyped-call]
            return found
        return torch.as_tensor(self.values(self._array(theta.detach())))

    def state(self, theta: Float64[torch.Tensor, "b p"]) -> torch.Tensor:
        """The amplitudes ⟨k|U(θ)|0⟩ up to a global phase, b × 2ⁿ; without a gradient."""
        angles = self._array(theta.detach())
        return torch.as_tensor(self._forward(angles, self._memory(angles))[0])

    def evaluate(self, theta: Float64[Array, "b p"]) -> tuple[Float64[Array, "b n"], Callable[[Array], Array]]:
        """Probabilities and v ↦ Jᵀv for each line, of a numpy array or a tensor, without torch's autograd.

        Raises:
            ConfigError: the number of parameters is not the circuit's.
        """
        rows = self._rows(theta)
        if len(theta) > rows:
            found, pullbacks = np.empty((len(theta), 2**self.qubits)), []
            for at in range(0, len(theta), rows):
                found[at : at + rows], pullback = self.evaluate(theta[at : at + rows])
                pullbacks.append(pullback)
            return found, lambda v: np.concatenate(
                [part(v[at : at + rows]) for part, at in zip(pullbacks, range(0, len(v), rows), strict=True)]
            )
        state, sweep = self._forward(theta, self._memory(theta))
        return squares(state), lambda v: self._backward(state, sweep, 2 * v * state)

    def values(self, theta: Float64[Array, "b p"]) -> Float64[Array, "b n"]:
        """The probabilities alone, which cost less: no state is kept, and what turns phases at the end is left out.

        Raises:
            ConfigError: the number of parameters is not the circuit's.
        """
        rows = self._rows(theta)
        memory = self._memory(theta[:rows])
        if len(theta) <= rows:
            return self._measured(theta, memory)
        found = np.empty((len(theta), 2**self.qubits))
        for at in range(0, len(theta), rows):
            found[at : at + rows] = self._measured(theta[at : at + rows], memory)
        return found

    def _measured(self, theta: Array, memory: Pair) -> Array:
        plan = self._plan(theta)
        last = len(plan.operations) - plan.tail
        found = squares(self._forward(theta, memory, last)[0])
        for operation in plan.operations[last:]:
            if isinstance(operation, Monomial) and operation.source is not None:
                found = gather(found, operation.source)
        return found

    def _memory(self, theta: Array) -> Pair:
        like, shape = self._plan(theta).rotations.cosine, (len(theta), 2**self.qubits)
        return blank(like, shape), blank(like, shape)

    def _rows(self, theta: Array) -> int:
        return max(1, _AMPLITUDES >> self.qubits) if isinstance(theta, np.ndarray) else max(1, len(theta))

    def _array(self, theta: torch.Tensor) -> Array:
        """On a CPU numpy has the smaller overhead."""
        return theta.numpy() if theta.device.type == "cpu" else theta

    def _plan(self, theta: Array) -> Plan:
        if isinstance(theta, np.ndarray):
            return self.plan
        if theta.device not in self._moved:
            self._moved[theta.device] = moved(self.plan, theta.device)
        return self._moved[theta.device]

    def _forward(self, theta: Array, memory: Pair, stop: int | None = None) -> tuple[Array, Sweep]:
        if theta.shape[1] != self.parameters:
            raise ConfigError(f"{theta.shape[1]} parameters", f"{self.parameters}, as the circuit has")
        plan = self._plan(theta)
        sweep = Sweep(theta, plan.rotations.turned(theta))
        state, other = (array[: len(theta)] for array in memory)
        plan.first.start(sweep, state)
        for operation in plan.operations[:stop]:
            state, other = operation.apply((state, other), sweep)
        return state, sweep

    def _backward(self, state: Array, sweep: Sweep, cotangent: Array) -> Array:
        plan, turned = self._plan(sweep.theta), sweep.turned
        overlaps = tuple(blank(blocks, blocks.shape) for blocks in turned.blocks)
        sweep = Sweep(sweep.theta, turned, tuple(dagger(blocks) for blocks in turned.blocks), overlaps)
        shape = len(state), 2, state.shape[1]
        both, other = blank(state, shape), blank(state, shape)
        both[:, 0] = state
        both[:, 1] = cotangent
        for operation in reversed(plan.operations):
            operation.collect(both[:, 0], both[:, 1], sweep)
            both, other = operation.undo((both, other), sweep)
        plan.first.collect(both[:, 0], both[:, 1], sweep)
        return sum(sweep.gradient, plan.rotations.pullback(turned, overlaps))


class _Probabilities(torch.autograd.Function):
    """`Program.evaluate` for autograd; nothing of the circuit is on its tape."""

    @staticmethod
    def forward(ctx: Any, theta: torch.Tensor, program: Program) -> torch.Tensor:
        probabilities, ctx.pullback = program.evaluate(program._array(theta.detach()))
        return torch.as_tensor(probabilities)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.as_tensor(ctx.pullback(v.numpy() if v.device.type == "cpu" else v)), None


def compile_circuit(circuit: QuantumCircuit) -> Program:
    """Compiles a circuit.

    Raises:
        ConfigError: a gate that the engine does not know, a measurement, or an angle that is not linear.
    """
    return Program(int(circuit.num_qubits), int(circuit.num_parameters), plan_of(circuit))
