"""The Shapley value by quantum amplitude estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.errors import ConfigError, DataError
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.incentives.contribution import Contribution, Shares, marginals
from qfedfm.incentives.game import Game
from qfedfm.quantum.amplification import Mean
from qfedfm.quantum.encoding import encoding_angles, encoding_circuit, gray_angles, multiplexed_ry
from qfedfm.quantum.estimation import Queries, exponential, maximum_likelihood, measured
from qfedfm.quantum.executor import ExecutorField
from qfedfm.quantum.executors.ideal import Shots

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_SHOTS = Shots(100)
_LARGEST = 12
"""Players of a game that is simulated as an oracle: 2ⁿ⁻¹ rotations in each A."""


@part(
    "amplitude-estimation",
    paper="Burge, Barbeau & Garcia-Alfaro, arXiv 2301.04727 (2023); Suzuki et al., arXiv 1904.10246 (estimation)",
    quantum=True,
    twins=("coalition-sampling", "permutation-sampling"),
)
@final
@dataclass(frozen=True)
class AmplitudeEstimation(Contribution):
    """φ_i = B (2a_i − 1) from the amplitude a_i = Σ_S w(|S|) (1 + (v(S ∪ {i}) − v(S))/B)/2, one oracle for each player.

    A prepares Σ_{t,S} √(weight(t) t^|S| (1 − t)^(n−1−|S|)) |t⟩|S⟩ (`coalition_circuit`) and turns a flag by the
    marginal contribution that belongs to S, scaled by the declared bound B. Maximum likelihood from shots of Qᵐ A at
    the powers m = 0, 1, 2, 4 … 2^(depth−1): the error falls as 1/queries, that of sampling as 1/√queries.

    **A simulated oracle needs all 2ⁿ utilities, which give the exact value anyway** (`Shapley`); ``evaluations`` counts
    them. Only the scaling of queries to the oracle is shown, and no advantage.

    Args:
        depth: 1 + log₂ of the largest power; 0 is plain sampling of the flag.
        executor: where circuits run, with its shots for each circuit.
        bound: B ≥ |v(S ∪ {i}) − v(S)| for all S and i, which a real oracle must declare beforehand; None takes the
            largest there is, which only a simulated oracle knows.

    Raises:
        ConfigError: a number out of range; (in `shares`) more than 12 players.
        DataError: (in `shares`) a marginal contribution beyond the bound.

    Differs from the paper: Gauss–Legendre nodes for t instead of equal parts of [0, 1], so that ⌈n/2⌉ nodes have no
    discretisation error; marginal contributions instead of two estimates subtracted; no phase estimation.
    """

    depth: Annotated[int, Field(ge=0, le=10)] = 6
    executor: ExecutorField = _SHOTS
    bound: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def shares(self, game: Game, key: Key) -> Shares:
        calls, evaluations = game.calls, game.evaluations
        means, bound = oracles(game, self.bound)
        values, errors, queries = np.empty(game.players), np.empty(game.players), Queries()
        for player, mean in enumerate(means):
            sample = measured(mean, self.executor)
            found = maximum_likelihood(sample, exponential(self.depth), key.fold(game.names[player]))
            values[player], errors[player] = bound * (2 * found.value - 1), 2 * bound * found.standard_error
            queries += found.queries
        return Shares(values, errors, game.calls - calls, game.evaluations - evaluations, queries)


def oracles(game: Game, bound: float | None = None) -> tuple[list[Mean], float]:
    """The mean a_i of each player, φ_i = B (2a_i − 1), and the bound B: the declared one, or the least that holds.

    Raises:
        ConfigError: more than 12 players.
        DataError: a marginal contribution beyond the declared bound.
    """
    if game.players > _LARGEST:
        given = f"a simulated oracle of {game.players} players"
        raise ConfigError(given, f"at most {_LARGEST}", "sampling needs fewer utilities")
    gains = np.stack([marginals(game, player) for player in range(game.players)])
    largest = float(np.abs(gains).max())
    if bound is not None and largest > bound:
        raise DataError(f"a marginal contribution of {largest:g}", f"at most the declared bound {bound:g}", "raise it")
    bound = bound or largest or 1.0  # where all are 0 any bound holds
    prepared = coalition_circuit(game.players - 1, *gauss_nodes(game.players))
    return [Mean.of(prepared, np.clip((1 + row / bound) / 2, 0, 1)) for row in gains], bound


def gauss_nodes(players: int) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Nodes t in [0, 1] and weights with Σ weight · f(t) = ∫₀¹ f for all polynomials f of degree n − 1: ⌈n/2⌉ of them.

    Gauss–Legendre. t^s (1 − t)^(n−1−s) has that degree, so that coalitions get their Shapley weights to rounding.
    """
    x, weights = np.polynomial.legendre.leggauss(-(-players // 2))
    return (x + 1) / 2, weights / 2


def equal_nodes(count: int) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """The middles of ``count`` equal parts of [0, 1]: the midpoint rule, whose error falls as 1/count².

    Burge, Barbeau & Garcia-Alfaro, arXiv 2301.04727, cut [0, 1] into parts too.
    """
    return (np.arange(count) + 0.5) / count, np.full(count, 1 / count)


def coalition_circuit(
    others: int, nodes: Float64[np.ndarray, " k"], weights: Float64[np.ndarray, " k"]
) -> QuantumCircuit:
    """Σ_{t,S} √(weight(t) t^|S| (1 − t)^(others − |S|)) |t⟩|S⟩ from |0⟩ by RY and CNOT.

    S on qubits 0 … others − 1, then ⌈log₂ k⌉ qubits for t: amplitude encoding of the weights' roots, then on each qubit
    of S a rotation multiplexed by t. (others + 1) 2^⌈log₂ k⌉ rotations instead of the 2^others of an encoding of S.
    """
    from qiskit import QuantumCircuit

    register = (len(nodes) - 1).bit_length()
    circuit = QuantumCircuit(others + register)
    controls = range(others, others + register)
    if register:
        angles = encoding_angles(np.sqrt(weights)).tolist()
        circuit.compose(encoding_circuit(register).assign_parameters(angles), controls, inplace=True)
    alpha = np.zeros(2**register)
    alpha[: len(nodes)] = 2 * np.arcsin(np.sqrt(nodes))
    for member in range(others):
        multiplexed_ry(circuit, gray_angles(alpha).tolist(), controls, member)
    return circuit
