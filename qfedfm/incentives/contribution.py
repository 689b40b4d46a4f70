"""What each client of a round was worth: the kind of part that says it, and what it says."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from qfedfm.core.cohort import EMPTY, ClientId, Cohort, State
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.core.parts import Law, Part, Reduce, ServerAt
from qfedfm.incentives.game import LARGEST, Game, round_game
from qfedfm.quantum.estimation import Queries

_NONE = Queries()


@dataclass(frozen=True)
class Shares:
    """The Shapley value of each player, or an estimate of it.

    Args:
        values: φ, in units of the utility.
        standard_errors: of the values; 0 where they are exact.
        calls: how often a utility was asked for.
        evaluations: coalitions that were evaluated for the first time; on a server each is a pass over validation data.
        queries: of the circuits, none where there are none.
    """

    values: Float64[np.ndarray, " n"]
    standard_errors: Float64[np.ndarray, " n"]
    calls: int
    evaluations: int
    queries: Queries = _NONE

    @property
    def intervals(self) -> Float64[np.ndarray, "n 2"]:
        """Values ± 1.96 standard errors: 95 % intervals where an estimate is about normal, as with many samples."""
        margin = 1.96 * self.standard_errors
        return np.stack((self.values - margin, self.values + margin), axis=1)


class Contribution(Part):
    """Divides v(N) − v(∅) among the players of a game, here always as the Shapley value does.

    φ_i = Σ_{S ∌ i} |S|! (n − 1 − |S|)! / n! · (v(S ∪ {i}) − v(S)): Shapley, Annals of Mathematics Studies 28 (1953).
    """

    kind = "contribution"
    laws = frozenset({Law.SAME_KEY})

    @abc.abstractmethod
    def shares(self, game: Game, key: Key) -> Shares:
        """The value of each player. ``calls`` and ``evaluations`` are what this call added to the game's counters."""


def round_contributions(
    cohort: Cohort, reduce: Reduce, at: ServerAt, method: Contribution, state: State = EMPTY
) -> tuple[Mapping[ClientId, float], Shares]:
    """What each client of a round was worth to the validation loss, and the same with errors and counts.

    Both by ascending client id. The values are in units of the loss, and sum to L(0) − L(R(all)) where they are exact;
    the game is `round_game`. The randomness is ``at.key`` folded by round.

    Raises:
        StackError: no objective, merged rows, or a reduce that needs several updates.
    """
    game = round_game(cohort, reduce, at, state)
    shares = method.shares(game, at.key.fold("contribution", at.round))
    return {client: float(value) for client, value in zip(game.names, shares.values, strict=True)}, shares


def coalition_weights(players: int) -> Float64[np.ndarray, " n"]:
    """|S|! (n − 1 − |S|)! / n! for |S| = 0 … n − 1: the weight of a coalition of the others in a player's value.

    Example:
        >>> coalition_weights(3).round(4).tolist()
        [0.3333, 0.1667, 0.3333]
    """
    weights = np.full(players, 1 / players)
    for size in range(1, players):
        weights[size] = weights[size - 1] * size / (players - size)
    return weights


def others(player: int, players: int) -> np.ndarray:
    """The coalitions without a player, in the order of the numbers that the bits of the others alone make."""
    if players > LARGEST:
        raise ConfigError(f"all coalitions of {players} players", f"at most {LARGEST}", "estimate by sampling")
    number = np.arange(2 ** (players - 1))
    below = number & ((1 << player) - 1)
    return np.asarray(below | ((number ^ below) << 1))


def marginals(game: Game, player: int) -> Float64[np.ndarray, " c"]:
    """v(S ∪ {i}) − v(S) for all coalitions S of `others`."""
    return np.array([game.marginal(player, int(coalition)) for coalition in others(player, game.players)])
