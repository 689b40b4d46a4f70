"""The Born aggregator: client weights are the outcome probabilities of a trained circuit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.ansatz import Entangler, born_circuit, qubits_for, uniform_start
from qfedfm.quantum.executor import ExecutorField
from qfedfm.quantum.executors.ideal import Exact
from qfedfm.reduces.cost import Cost
from qfedfm.reduces.running import runner
from qfedfm.reduces.variational import LearnedWeights, Point, Pullback

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from qfedfm.quantum.circuit import Circuit


@lru_cache(maxsize=32)
def compiled(qubits: int, layers: int, entangler: Entangler) -> Circuit:
    """The Born circuit, made and compiled once."""
    from qfedfm.quantum.circuit import Circuit

    return Circuit(born_circuit(qubits, layers, entangler))


@dataclass(frozen=True)
class BornWeights(LearnedWeights):
    """w_k ∝ n_k |⟨k|U(θ)|0⟩|²: basis state k belongs to the client whose id has rank k, of ⌈log₂ K⌉ qubits.

    The order of the rows changes nothing; other ids for the same clients do, as far as the circuit cannot reach every
    weight or training stops early. U is `born_circuit`; `LearnedWeights` says how θ is trained. Probabilities and their
    gradient come from the statevector, or from ``shots`` of each circuit by the parameter-shift rule: 1 + 2P circuits a
    step. The shift is of the probabilities; the renormalisation to the clients of the round goes on top by the quotient
    rule. About 20 qubits can be simulated, a million clients: whatever this finds, a classical computer found.

    Args:
        layers: entanglers, each followed by a rotation of every qubit; P = (layers + 1) · qubits.
        shots: of each circuit; None for exact probabilities.
        executor: where the circuits run, in the place of ``shots``; with None in both, probabilities and gradient are
            those of the statevector.
        gradient: ``shift``, the parameter-shift rule, 1 + 2P circuits a step; ``spsa``, three circuits a step and a
            noisy direction; ``auto``, the statevector's without shots or an executor, ``shift`` with them.
    """

    layers: Annotated[int, Field(ge=1)] = 3
    shots: Annotated[int, Field(ge=1)] | None = None
    executor: ExecutorField | None = None
    gradient: Literal["auto", "shift", "spsa"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self)
        runner(self.name, self.shots, self.executor)

    def wiring(self) -> Entangler:
        """The entangler of the circuit."""
        return "ring-cnot"

    def compiled(self, clients: int) -> Circuit:
        """The circuit for a population of that many clients, as an executor takes it."""
        return compiled(qubits_for(clients), self.layers, self.wiring())

    def circuit(self, clients: int) -> QuantumCircuit:
        """The circuit for a population of that many clients, with free parameters, to draw and to export.

        Example:
            >>> import qfedfm as qf
            >>> qf.reduces.Born(layers=2).circuit(10).num_qubits
            4
        """
        return born_circuit(qubits_for(clients), self.layers, self.wiring())

    def initial(self, clients: int) -> Float64[np.ndarray, " p"]:
        return uniform_start(qubits_for(clients), self.layers)

    def evaluate(self, theta: Float64[np.ndarray, "*b p"], clients: int, key: Key) -> tuple[Point, Pullback]:
        from qfedfm.quantum.gradients import exact, parameter_shift, spsa

        circuit, executor = self.compiled(clients), runner(self.name, self.shots, self.executor)
        if executor is None and self.gradient == "auto":
            at = exact(circuit, theta)
        else:
            at = (spsa if self.gradient == "spsa" else parameter_shift)(circuit, theta, executor or Exact(), key)
        return Point(at.probabilities, Cost.of(at.outcome)), at.pullback

    def probabilities(self, theta: Float64[np.ndarray, "*b p"], clients: int, key: Key) -> Point:
        circuit, points = self.compiled(clients), theta.reshape(-1, theta.shape[-1])
        outcome = (runner(self.name, self.shots, self.executor) or Exact()).run(circuit, points, key)
        return Point(outcome.probabilities.reshape(*theta.shape[:-1], -1), Cost.of(outcome))


@part(
    "born",
    paper="Liu & Wang, PRA 98, 062324 (2018), arXiv 1804.04168 (Born machines)",
    quantum=True,
    twins=("amplitudes", "softmax", "simplex"),
)
@final
@dataclass(frozen=True)
class Born(BornWeights):
    """`BornWeights` with a choice of entangler, or with a circuit of your own.

    Args:
        entangler: ``ring-cnot`` reaches every direction of the simplex at the start (up to four qubits with three
            layers), where the CZ entanglers leave some without a gradient.
        ansatz: a circuit of your own in the place of `born_circuit`, so that ``layers`` and ``entangler`` mean nothing:
            whatever `qfedfm.quantum.own.own_circuit` takes, in a configuration ``"module:name"`` or the path of an
            OpenQASM 3 file. Its first angles are drawn uniformly, the same for every seed, so that the first weights
            are not the mean's.

    Differs from the paper: the outcomes are clients instead of data, and the loss is the server's validation loss.
    """

    entangler: Entangler = "ring-cnot"
    ansatz: Any = None

    def wiring(self) -> Entangler:
        return self.entangler

    def compiled(self, clients: int) -> Circuit:
        qubits = qubits_for(clients)
        if self.ansatz is None:
            return super().compiled(clients)
        if qubits not in self._own:
            from qfedfm.quantum.own import own_circuit

            self._own[qubits] = own_circuit(self.ansatz, qubits)
        return self._own[qubits]

    @cached_property
    def _own(self) -> dict[int, Circuit]:
        """The ansatz by its number of qubits, made once."""
        return {}

    def circuit(self, clients: int) -> QuantumCircuit:
        return super().circuit(clients) if self.ansatz is None else self.compiled(clients).qiskit.copy()

    def initial(self, clients: int) -> Float64[np.ndarray, " p"]:
        if self.ansatz is None:
            return super().initial(clients)
        return Key.of(0).fold("own ansatz").numpy().uniform(-math.pi, math.pi, self.compiled(clients).parameters)
