"""How the error of a Shapley value falls with the queries to an oracle: amplitude estimation beside sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.incentives.contributions.amplitude_estimation import oracles
from qfedfm.incentives.contributions.coalition_sampling import drawn_coalitions
from qfedfm.incentives.contributions.shapley import Shapley
from qfedfm.incentives.game import Game
from qfedfm.quantum.estimation import drawn, exponential, fisher_information, maximum_likelihood
from qfedfm.quantum.executor import Executor
from qfedfm.quantum.executors.ideal import Exact

_EXACT = Exact()


@dataclass(frozen=True)
class Point:
    """One method at one number of queries, for the value of one player.

    A query is one use of what gives v(S ∪ {i}) − v(S) for a coalition S: one sample classically, one A or A† in a
    circuit.

    Args:
        method: ``amplitude-estimation`` or ``coalition-sampling``.
        oracle: samples, or applications of A.
        adjoint: applications of A†.
        distinct: different coalitions S among the samples, a mean: the queries where answers are kept. A circuit asks
            for all 2ⁿ⁻¹ at once, and its simulation needs all.
        utilities: different coalitions whose utility was evaluated, a mean.
        error: the root mean square over players and keys, in units of the utility.
        expected: the same by theory: the Cramér–Rao bound, or σ/√M.
    """

    method: str
    oracle: int
    adjoint: int
    distinct: float
    utilities: float
    error: float
    expected: float

    @property
    def queries(self) -> int:
        """Samples, or applications of A and A†."""
        return self.oracle + self.adjoint


def scaling(
    game: Game,
    keys: Sequence[Key],
    depths: Sequence[int] = range(8),
    shots: int = 100,
    executor: Executor = _EXACT,
) -> list[Point]:
    """Errors of both methods at the same numbers of queries, those of maximum-likelihood estimation to some depths.

    The circuits are simulated once each, and the shots of each key drawn from that. All 2ⁿ utilities are evaluated
    first: the simulated oracle needs them, the errors are measured against the exact values that they give, and
    sampling reads the same table.

    Args:
        game: at most 12 players.
        keys: one for each repetition.
        depths: see `AmplitudeEstimation`.
        shots: of each circuit.
        executor: of the simulation: one that gives probabilities, the ideal ones or those under noise.

    Raises:
        ConfigError: no key, no depth, or too many players.
    """
    if not keys or not depths:
        raise ConfigError(f"{len(keys)} keys and {len(depths)} depths", "at least one of each")
    exact, (means, bound) = Shapley().shares(game, keys[0]).values, oracles(game)
    samplers = [drawn(mean, shots, executor) for mean in means]
    points = []
    for depth in depths:
        powers = exponential(depth)
        found = [
            [maximum_likelihood(sample, powers, key.fold("scaling", player)) for key in keys]
            for player, sample in enumerate(samplers)
        ]
        errors = [bound * (2 * one.value - 1) - exact[i] for i, row in enumerate(found) for one in row]
        limits = [4 * bound**2 / fisher_information((1 + value / bound) / 2, powers, shots) for value in exact]
        queries = found[0][0].queries
        points.append(
            Point(
                "amplitude-estimation", queries.oracle, queries.adjoint, 2.0 ** (game.players - 1), 2.0**game.players,
                _rms(errors), math.sqrt(np.mean(limits)),
            )
        )  # fmt: skip
        points.append(sampling(game, keys, queries.total))
    return points


def sampling(game: Game, keys: Sequence[Key], samples: int) -> Point:
    """The error of `CoalitionSampling` at one number of samples; arguments as for `scaling`."""
    exact, v, n = Shapley().shares(game, keys[0]).values, game.all(), game.players
    errors, variances, distinct, utilities = [], [], [], []
    for player in range(n):
        for key in keys:
            coalitions = drawn_coalitions(player, n, samples, key.fold("scaling", player))
            gains = v[coalitions | 1 << player] - v[coalitions]
            errors.append(gains.mean() - exact[player])
            variances.append(gains.var() / samples)
            asked = np.unique(coalitions)
            distinct.append(len(asked))
            utilities.append(2 * len(asked))  # with the player and without: no coalition is both
    return Point(
        "coalition-sampling", samples, 0, float(np.mean(distinct)), float(np.mean(utilities)), _rms(errors),
        math.sqrt(np.mean(variances)),
    )  # fmt: skip


def slope(points: Sequence[Point], method: str) -> float:
    """How log(error) falls with log(queries), by least squares over the points of a method.

    −1/2 for sampling; for amplitude estimation it tends to −1 with the depth.

    Raises:
        ConfigError: fewer than two points of the method with an error above 0.
    """
    chosen = [point for point in points if point.method == method and point.error > 0]
    if len({point.queries for point in chosen}) < 2:
        raise ConfigError(f"{len(chosen)} points of {method!r}", "at least two numbers of queries")
    x, y = np.log([[point.queries, point.error] for point in chosen]).T
    return float(np.polyfit(x, y, 1)[0])


def _rms(errors: Sequence[float]) -> float:
    return math.sqrt(np.mean(np.square(errors)))
