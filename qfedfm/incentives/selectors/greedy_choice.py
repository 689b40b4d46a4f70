"""Invitations one after the other: the cheapest twin of those by QAOA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.incentives.choice import ChoiceSelector
from qfedfm.quantum.qaoa import Quadratic
from qfedfm.reduces.choice import Choice


@part("greedy-choice", paper="Nemhauser, Wolsey & Fisher, Math. Program. 14, 265 (1978)")
@final
@dataclass(frozen=True)
class GreedyChoice(ChoiceSelector):
    """`ChoiceSelector` by forward selection: k times the candidate that adds the least to the value is invited.

    Args:
        reward: β, of clients whose updates agreed with the aggregate.
        redundancy: λ, against clients whose updates resemble each other.
        exposure: ε, of clients that have waited long.
        candidates: clients that are considered in a round; hundreds are no trouble.

    Raises:
        ConfigError: a field is out of range, or (in `check`) a round invites more clients than are considered.

    Differs from the paper: its bound of 1 − 1/e is for functions that only grow; redundancy takes away.
    """

    def choose(self, problem: Quadratic, size: int, key: Key) -> Choice:
        bits, added = np.zeros(problem.n, bool), np.diag(problem.Q)
        for _ in range(size):
            best = int(np.where(bits, np.inf, added).argmin())
            bits[best] = True
            added = added + 2 * problem.Q[best]
        return Choice(bits)
