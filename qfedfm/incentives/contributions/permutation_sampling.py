"""The Shapley value from random orders of the players."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.incentives.contribution import Contribution, Shares
from qfedfm.incentives.game import Game


@part("permutation-sampling", paper="Castro, Gómez & Tejada, Computers & Operations Research 36, 1726 (2009)")
@final
@dataclass(frozen=True)
class PermutationSampling(Contribution):
    """φ̂_i = the mean over orders π of v(those before i in π, and i) − v(those before i in π).

    Unbiased; every estimate sums to v(N) − v(∅). Utilities that orders share are computed once.

    Args:
        permutations: M, each n + 1 calls of a utility; at least 2, for the standard error s/√M.

    Raises:
        ConfigError: fewer than 2.
    """

    permutations: Annotated[int, Field(ge=2)] = 100

    def __post_init__(self) -> None:
        check_fields(self)

    def shares(self, game: Game, key: Key) -> Shares:
        calls, evaluations = game.calls, game.evaluations
        gains = np.empty((self.permutations, game.players))
        generator = key.fold("permutations").numpy()
        for number in range(self.permutations):
            coalition, worth = 0, game(0)
            for player in generator.permutation(game.players).tolist():
                coalition |= 1 << player
                before, worth = worth, game(coalition)
                gains[number, player] = worth - before
        errors = gains.std(axis=0, ddof=1) / np.sqrt(self.permutations)
        return Shares(gains.mean(axis=0), errors, game.calls - calls, game.evaluations - evaluations)
