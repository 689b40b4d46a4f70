"""Selection by leaving out one client after the other: the cheapest twin of QAOA selection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.qaoa import Quadratic
from qfedfm.reduces.choice import Choice
from qfedfm.reduces.selection import SelectionReduce


@part("greedy-selection", paper="none: backward elimination")
@final
@dataclass(frozen=True)
class GreedySelection(SelectionReduce):
    """`SelectionReduce` by backward elimination: f times the client with the largest sum of distances is left out.

    Args:
        hostile: f, how many updates are left out.
        objective: ``squares``, the sum of the squared distances, or ``diameter``, the largest distance.

    Raises:
        ConfigError: a field is out of range.
        StackError: fewer than 2f + 1 updates.
    """

    def choose(self, problem: Quadratic, size: int, key: Key) -> Choice:
        bits, sums = np.ones(problem.n, bool), problem.Q.sum(axis=1)
        for _ in range(problem.n - size):
            worst = int(np.where(bits, sums, -np.inf).argmax())
            bits[worst] = False
            sums = sums - problem.Q[worst]
        return Choice(bits)
