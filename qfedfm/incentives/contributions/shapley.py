"""The Shapley value by its definition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.incentives.contribution import Contribution, Shares, coalition_weights, others
from qfedfm.incentives.game import Game


@part("shapley", paper="Shapley, Annals of Mathematics Studies 28 (1953)")
@final
@dataclass(frozen=True)
class Shapley(Contribution):
    """Exact, from all 2ⁿ utilities.

    Raises:
        ConfigError: (in `shares`) more than 20 players.
    """

    def shares(self, game: Game, key: Key) -> Shares:
        calls, evaluations, n = game.calls, game.evaluations, game.players
        v = game.all()
        values = np.empty(n)
        for player in range(n):
            without = others(player, n)
            weights = coalition_weights(n)[np.bitwise_count(without)]
            values[player] = weights @ (v[without | 1 << player] - v[without])
        return Shares(values, np.zeros(n), game.calls - calls, game.evaluations - evaluations)
