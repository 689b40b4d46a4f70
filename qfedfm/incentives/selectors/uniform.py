"""Invitations at random, each client alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from qfedfm.core.cohort import ClientId, State
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.incentives.selector import Invitation, Selector


@part("uniform", paper="McMahan et al., AISTATS 2017, arXiv 1602.05629 (algorithm 1)")
@final
@dataclass(frozen=True)
class Uniform(Selector):
    """A uniform sample without replacement, in time that depends on its size and not on the population's."""

    def select(
        self,
        population: tuple[ClientId, ...],
        size: int,
        state: State,
        round: int,  # noqa: A002
        key: Key,
    ) -> Invitation:
        if size == len(population):
            return Invitation(population)
        places = key.numpy().choice(len(population), size, replace=False, shuffle=False)
        return Invitation(tuple(population[place] for place in sorted(places.tolist())))
