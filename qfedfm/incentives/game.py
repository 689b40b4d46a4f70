"""A cooperative game: what coalitions of clients are worth, each computed once and counted."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from qfedfm.core.cohort import EMPTY, Cohort, State
from qfedfm.core.errors import ConfigError, DataError, StackError
from qfedfm.core.parts import Reduce, ServerAt

LARGEST = 20
"""Players of a game of which all 2ⁿ utilities are computed."""


class Game:
    """Players 0 … n − 1 and the utility v(S) of each coalition, computed when it is first asked for and then kept.

    A coalition is a number whose bit k says whether player k is in it. The kept utilities and the two counters are all
    that changes; a method of contribution reports what it added to the counters.

    Args:
        players: n ≥ 1.
        utility: v of a coalition, given as its players in ascending order; it must not depend on when it is asked.
        names: of the players; their numbers unless given.

    Raises:
        ConfigError: no player, or names of another number.

    Example:
        >>> game = Game(2, lambda coalition: float(len(coalition)))
        >>> game(0b11), game(0b11), game.calls, game.evaluations
        (2.0, 2.0, 2, 1)
    """

    def __init__(
        self, players: int, utility: Callable[[tuple[int, ...]], float], names: tuple[int, ...] | None = None
    ) -> None:
        self.names = tuple(range(players)) if names is None else names
        if players < 1 or len(self.names) != players:
            raise ConfigError(f"a game of {players} players with {len(self.names)} names", "at least one, each named")
        self.players = players
        self.calls = 0
        self._utility = utility
        self._known: dict[int, float] = {}

    @property
    def evaluations(self) -> int:
        """How many different coalitions were evaluated."""
        return len(self._known)

    def __call__(self, coalition: int) -> float:
        """v(S).

        Raises:
            DataError: the utility is not finite.
        """
        self.calls += 1
        if coalition not in self._known:
            inside = tuple(player for player in range(self.players) if coalition >> player & 1)
            value = float(self._utility(inside))
            if not math.isfinite(value):
                given = f"utility {value} of the coalition {[self.names[player] for player in inside]}"
                raise DataError(given, "a finite number", "leave out updates that make the loss infinite")
            self._known[coalition] = value
        return self._known[coalition]

    def marginal(self, player: int, others: int) -> float:
        """v(S ∪ {i}) − v(S) for a coalition of others than i."""
        return self(others | 1 << player) - self(others)

    def all(self) -> Float64[np.ndarray, " c"]:
        """V of all 2ⁿ coalitions, in the order of their numbers.

        Raises:
            ConfigError: more than 20 players.
        """
        if self.players > LARGEST:
            given = f"all utilities of {self.players} players"
            raise ConfigError(given, f"at most {LARGEST} players", "estimate contributions by sampling")
        return np.array([self(coalition) for coalition in range(2**self.players)])


def round_game(cohort: Cohort, reduce: Reduce, at: ServerAt, state: State = EMPTY) -> Game:
    """The game of one round: v(S) = L(0) − L(R(S)), v(∅) = 0.

    L is the loss on the server's validation data at the model plus a delta, and R(S) what the reduce makes of the
    updates of the clients in S, with their sample weights and with the state as it was before the round. The players
    are the clients in ascending order of their ids, which name them, whatever the order of the rows. Song, Tong & Wei,
    IEEE Big Data 2019 (the games of single rounds).

    Args:
        cohort: single clients in the rows.
        reduce: defined for one update.
        at: with an objective.
        state: of the reduce; empty for one without.

    Raises:
        StackError: no objective, merged rows, or a reduce that needs several updates.
    """
    objective = at.objective
    if objective is None:
        raise StackError("contributions without a validation objective", "validation data on the server")
    if cohort.mixing is not None:
        raise StackError("contributions to rows that a cohort layer mixed", "rows that are single clients' updates")
    if reduce.minimum_rows() > 1:
        given = f"contributions under reduce {reduce.name!r}, which needs {reduce.minimum_rows()} updates"
        raise StackError(given, "a reduce for any number of updates", "the smallest coalitions are single clients")
    start = state or reduce.init(cohort.layout, tuple(sorted(cohort.clients)))
    nothing = float(objective.loss(np.zeros(cohort.layout.size, np.float32)))

    order = np.argsort(cohort.clients)

    def utility(coalition: tuple[int, ...]) -> float:
        if not coalition:
            return 0.0
        rows = order[list(coalition)]
        clients = tuple(cohort.clients[row] for row in rows)
        X = np.ascontiguousarray(cohort.X[rows])
        part = Cohort(X, cohort.weights[rows], clients, cohort.layout, held=cohort.held)
        return nothing - float(objective.loss(reduce.reduce(part, start, at)[0].vector))

    return Game(cohort.n, utility, tuple(sorted(cohort.clients)))
