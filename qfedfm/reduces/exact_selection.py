"""The best selection by trying all: the exact twin of QAOA selection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.qaoa import Quadratic, brute_force
from qfedfm.reduces.choice import Choice
from qfedfm.reduces.selection import SelectionReduce


@part("exact-selection", paper="El Mhamdi et al., ICML 2018, arXiv 1802.07927 (minimum-diameter averaging)")
@final
@dataclass(frozen=True)
class ExactSelection(SelectionReduce):
    """`SelectionReduce` with the minimum over all C(n, f) choices, of up to 20 clients.

    Args:
        hostile: f, how many updates are left out.
        objective: ``squares``, the sum of the squared distances, or ``diameter``, the largest distance.

    Raises:
        ConfigError: a field is out of range, or (in `reduce`) there are more than 20 updates.
        StackError: fewer than 2f + 1 updates.

    Differs from the paper: with ``squares``, the sum of squared distances in the place of the diameter.
    """

    def choose(self, problem: Quadratic, size: int, key: Key) -> Choice:
        outcome = brute_force(problem, size).outcome
        return Choice((outcome >> np.arange(problem.n)) & 1 == 1)
