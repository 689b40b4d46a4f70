"""The Shapley value from random coalitions of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Int64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.incentives.contribution import Contribution, Shares
from qfedfm.incentives.game import Game


@part("coalition-sampling", paper="Owen, Management Science 18, P64 (1972) (multilinear extension), sampled")
@final
@dataclass(frozen=True)
class CoalitionSampling(Contribution):
    """φ̂_i = the mean of v(S ∪ {i}) − v(S) over t uniform on [0, 1] and S with each of the others with probability t.

    φ_i = ∫₀¹ E[v(S_t ∪ {i}) − v(S_t)] dt (Owen), so that the mean is unbiased. What amplitude estimation measures,
    drawn classically: its twin. Utilities that samples share are computed once.

    Args:
        samples: M for each player, each 2 calls of a utility; at least 2, for the standard error s/√M.

    Raises:
        ConfigError: fewer than 2.
    """

    samples: Annotated[int, Field(ge=2)] = 1000

    def __post_init__(self) -> None:
        check_fields(self)

    def shares(self, game: Game, key: Key) -> Shares:
        calls, evaluations, n = game.calls, game.evaluations, game.players
        gains = np.empty((n, self.samples))
        for player in range(n):
            for number, coalition in enumerate(
                drawn_coalitions(player, n, self.samples, key.fold(game.names[player])).tolist()
            ):
                gains[player, number] = game.marginal(player, coalition)
        errors = gains.std(axis=1, ddof=1) / np.sqrt(self.samples)
        return Shares(gains.mean(axis=1), errors, game.calls - calls, game.evaluations - evaluations)


def drawn_coalitions(player: int, players: int, samples: int, key: Key) -> Int64[np.ndarray, " s"]:
    """Random coalitions without a player, their size uniform on 0 … n − 1."""
    generator = key.fold("coalitions").numpy()
    t = generator.random((samples, 1))
    inside = generator.random((samples, players)) < t
    inside[:, player] = False
    return np.asarray(inside @ (1 << np.arange(players)))
