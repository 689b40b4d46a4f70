"""The best invitations by trying all: the exact twin of those by QAOA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from pydantic import Field

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.incentives.choice import MOST_RATED, ChoiceSelector
from qfedfm.quantum.qaoa import Quadratic, brute_force
from qfedfm.reduces.choice import Choice


@part("exact-choice", paper="Ferenczi et al., arXiv 2511.02785 (the problem)")
@final
@dataclass(frozen=True)
class ExactChoice(ChoiceSelector):
    """`ChoiceSelector` with the minimum over all choices, of up to 20 candidates.

    Args:
        reward: β, of clients whose updates agreed with the aggregate.
        redundancy: λ, against clients whose updates resemble each other.
        exposure: ε, of clients that have waited long.
        candidates: clients that are considered in a round.

    Raises:
        ConfigError: a field is out of range, or (in `check`) a round invites more clients than are considered.

    Differs from the paper: see `QaoaChoice`.
    """

    candidates: Annotated[int, Field(ge=1, le=MOST_RATED)] = 10

    def choose(self, problem: Quadratic, size: int, key: Key) -> Choice:
        outcome = brute_force(problem, size).outcome
        return Choice((outcome >> np.arange(problem.n)) & 1 == 1)
