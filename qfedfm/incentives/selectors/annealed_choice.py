"""Invitations by simulated annealing: the classical heuristic beside those by QAOA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

from pydantic import Field

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.incentives.choice import ChoiceSelector
from qfedfm.quantum.qaoa import Quadratic
from qfedfm.reduces.annealed_selection import annealed
from qfedfm.reduces.choice import Choice


@part("annealed-choice", paper="Kirkpatrick, Gelatt & Vecchi, Science 220, 671 (1983)")
@final
@dataclass(frozen=True)
class AnnealedChoice(ChoiceSelector):
    """`ChoiceSelector` by swaps of an invited candidate for another, by the schedule of `AnnealedSelection`.

    Args:
        reward: β, of clients whose updates agreed with the aggregate.
        redundancy: λ, against clients whose updates resemble each other.
        exposure: ε, of clients that have waited long.
        candidates: clients that are considered in a round; hundreds are no trouble.
        sweeps: as many swaps as there are candidates are proposed in each.

    Raises:
        ConfigError: a field is out of range, or (in `check`) a round invites more clients than are considered.
    """

    sweeps: Annotated[int, Field(ge=1)] = 50

    def choose(self, problem: Quadratic, size: int, key: Key) -> Choice:
        return Choice(annealed(problem, size, self.sweeps, key)[0])
