"""The Born aggregator: client weights are the outcome probabilities of a trained circuit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float64

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.ansatz import Entangler, born_circuit, qubits_for, uniform_start
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
    """

    layers: int = 3
    shots: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 1 or (self.shots is not None and self.shots < 1):
            raise ConfigError(f"layers = {self.layers}, shots = {self.shots}", "at least 1 of each")

    def wiring(self) -> Entangler:
        """The entangler of the circuit."""
        return "ring-cnot"

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
        from qfedfm.quantum.executor import Shots
        from qfedfm.quantum.gradients import exact, parameter_shift

        circuit = compiled(qubits_for(clients), self.layers, self.wiring())
        at = exact(circuit, theta) if self.shots is None else parameter_shift(circuit, theta, Shots(self.shots), key)
        return Point(at.probabilities, at.circuits, at.shots), at.pullback

    def probabilities(self, theta: Float64[np.ndarray, "*b p"], clients: int, key: Key) -> Point:
        from qfedfm.quantum.executor import Exact, Shots

        circuit = compiled(qubits_for(clients), self.layers, self.wiring())
        executor = Exact() if self.shots is None else Shots(self.shots)
        outcome = executor.run(circuit, theta.reshape(-1, theta.shape[-1]), key)
        return Point(outcome.probabilities.reshape(*theta.shape[:-1], -1), outcome.circuits, outcome.shots)


@part(
    "born",
    paper="Liu & Wang, PRA 98, 062324 (2018), arXiv 1804.04168 (Born machines)",
    quantum=True,
    twins=("amplitudes", "softmax", "simplex"),
)
@final
@dataclass(frozen=True)
class Born(BornWeights):
    """`BornWeights` with a choice of entangler.

    Args:
        entangler: ``ring-cnot`` reaches every direction of the simplex at the start (up to four qubits with three
            layers), where the CZ entanglers leave some without a gradient.

    Differs from the paper: the outcomes are clients instead of data, and the loss is the server's validation loss.
    """

    entangler: Entangler = "ring-cnot"

    def wiring(self) -> Entangler:
        return self.entangler
