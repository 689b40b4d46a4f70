"""The fidelity aggregator: clients are weighted by how alike their updates are as quantum states."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.cohort import Cohort
from qfedfm.core.key import Key
from qfedfm.core.parts import ServerAt
from qfedfm.core.registry import part
from qfedfm.core.sketch import count_sketch
from qfedfm.quantum.executor import Executor, ExecutorField
from qfedfm.quantum.executors.ideal import Exact
from qfedfm.reduces.cost import Cost
from qfedfm.reduces.running import runner
from qfedfm.reduces.similarity import Similarities, SimilarityReduce, SimilarityWeights

if TYPE_CHECKING:
    from qfedfm.quantum.circuit import Circuit

Test = Literal["inversion", "swap"]
_AMPLITUDES = 2**16
"""Of the statevectors simulated at once."""


@dataclass(frozen=True)
class FidelityTest(SimilarityReduce):
    """s_ij = F(u_i, u_j) = ⟨u_i|u_j⟩² of u = (δ/‖δ‖, 1)/√2, so that s = ((1 + cos)/2)²: 1 for equal directions, 1/4 for
    orthogonal and 0 for opposite ones.

    Plain amplitude encoding is blind to sign, F(δ, −3δ) = 1: the constant is what makes sign flips visible. Lengths
    travel classically. δ is the `count_sketch` of the update to m = 2^q − 1 numbers, drawn anew each round for all
    clients, so that m + 1 amplitudes fill q qubits: a cosine is off by (1 − cos²)/√m, and the similarity by
    (1 + cos)/2 times that, with any number of shots. Updates of at most m numbers are not sketched.

    n(n − 1)/2 circuits, one for each pair: `inversion_test` on q qubits, whose M shots give a variance of F(1 − F)/M,
    or `swap_test` on 2q + 1 qubits with (1 − F²)/M. All of these can be simulated; the twin needs no circuit.
    """

    constant: ClassVar[bool] = True
    """Whether the constant is appended."""

    qubits: Annotated[int, Field(ge=1, le=10)] = 6
    test: Test = "inversion"
    shots: Annotated[int, Field(ge=1)] | None = None
    executor: ExecutorField | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        runner(self.name, self.shots, self.executor)

    def compare(self, cohort: Cohort, at: ServerAt) -> Similarities:
        order = np.argsort(cohort.clients)
        key = at.key.fold("fidelity", at.round)
        states = self.states(cohort, key.fold("sketch", at.layout.digest.hex()))[order]
        values, unrelated = np.eye(len(order)), self.unrelated(cohort.layout.size)
        values[~np.eye(len(order), dtype=bool)] = unrelated
        executor = runner(self.name, self.shots, self.executor) or Exact()
        directed = np.flatnonzero(np.linalg.norm(states, axis=1))
        first, second = np.triu_indices(len(directed), 1)
        i, j = directed[first], directed[second]
        found, cost = fidelities(states[i], states[j], self.test, executor, key.fold("shots"))
        values[i, j] = values[j, i] = found
        return Similarities(values, unrelated, cost)

    def states(self, cohort: Cohort, key: Key) -> Float64[np.ndarray, "n k"]:
        """The amplitudes u of each row, 2^q numbers; zeros for an update that is zero."""
        size = 2**self.qubits - (1 if self.constant else 0)
        sketch = count_sketch(cohort.X, size, key)
        lengths = np.linalg.norm(sketch, axis=1, keepdims=True)
        directions = np.divide(sketch, lengths, out=np.zeros_like(sketch), where=lengths > 0)
        states = np.append(directions, lengths > 0, axis=1) / np.sqrt(2) if self.constant else directions
        return np.asarray(states)

    def unrelated(self, d: int) -> float:
        """The fidelity of orthogonal updates of length d."""
        return 0.25 if self.constant else 1 / min(2**self.qubits, d)


@lru_cache(maxsize=16)
def compiled(test: Test, qubits: int) -> Circuit:
    """The circuit of a test, made and compiled once."""
    from qfedfm.quantum.circuit import Circuit
    from qfedfm.quantum.encoding import inversion_test, swap_test

    return Circuit(inversion_test(qubits) if test == "inversion" else swap_test(qubits))


def fidelities(
    u: Float64[np.ndarray, "b k"], v: Float64[np.ndarray, "b k"], test: Test, executor: Executor, key: Key
) -> tuple[Float64[np.ndarray, " b"], Cost]:
    """⟨u|v⟩² of b pairs of states of 2^q amplitudes, measured by one circuit a pair.

    Unbiased: the swap test may give numbers below 0.

    Args:
        u: the first of each pair, not zero.
        v: the second.
        test: which circuit.
        executor: where it runs.
        key: of the shots.
    """
    from qfedfm.quantum.encoding import encoding_angles, inversion_fidelity, swap_fidelity

    cost = Cost()
    if not len(u):
        return np.zeros(0), cost
    circuit = compiled(test, (u.shape[1] - 1).bit_length())
    estimate = inversion_fidelity if test == "inversion" else swap_fidelity
    batch, found = max(1, _AMPLITUDES >> circuit.qubits), []
    for start in range(0, len(u), batch):
        pairs = slice(start, start + batch)
        angles = np.concatenate((encoding_angles(u[pairs]), encoding_angles(v[pairs])), axis=1)
        outcome = executor.run(circuit, angles, key.fold(start))
        found.append(estimate(outcome.probabilities))
        cost += Cost.of(outcome)
    return np.concatenate(found), cost


@part(
    "fidelity",
    paper="Buhrman et al., PRL 87, 167902 (2001) (swap test); Havlíček et al., Nature 567, 209 (2019) (inversion test)",
    quantum=True,
    twins=("cosine",),
)
@final
@dataclass(frozen=True)
class Fidelity(FidelityTest, SimilarityWeights):
    """w_k ∝ n_k relu(median_{j≠k} F_kj − 1/4 − margin) min(1, longest · median ‖Δ‖ / ‖Δ_k‖): `SimilarityWeights` of the
    fidelities that `FidelityTest` measures.

    Args:
        qubits: q; 2^q − 1 numbers stand for an update.
        test: ``inversion`` or ``swap``.
        shots: of each circuit; None for exact probabilities.
        executor: where the circuits run, in the place of ``shots``.
        margin: how much more than 1/4 the median fidelity must be.
        longest: updates longer than this many median lengths are held to it.

    Raises:
        ConfigError: a field is out of range.

    Differs from the papers: a constant is appended to the encoded vector, so that the fidelity knows the sign.
    """
