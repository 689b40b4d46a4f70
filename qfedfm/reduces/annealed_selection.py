"""Selection by simulated annealing: the classical heuristic beside QAOA selection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from pydantic import Field

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.qaoa import Quadratic
from qfedfm.reduces.choice import Choice
from qfedfm.reduces.selection import SelectionReduce

_COLDEST = 1e-2
"""Of the first temperature."""


@part("annealed-selection", paper="Kirkpatrick, Gelatt & Vecchi, Science 220, 671 (1983)")
@final
@dataclass(frozen=True)
class AnnealedSelection(SelectionReduce):
    """`SelectionReduce` by swaps of a client that is in for one that is not, taken with probability min(1, e^{−ΔC/T}).

    T falls geometrically from the mean |ΔC| of the first swaps to a hundredth of it; the best choice seen is taken.

    Args:
        hostile: f, how many updates are left out.
        objective: ``squares``, the sum of the squared distances, or ``diameter``, the largest distance.
        sweeps: n swaps are proposed in each.

    Raises:
        ConfigError: a field is out of range.
        StackError: fewer than 2f + 1 updates.
    """

    sweeps: Annotated[int, Field(ge=1)] = 50

    def choose(self, problem: Quadratic, size: int, key: Key) -> Choice:
        bits, value = annealed(problem, size, self.sweeps, key)
        return Choice(bits, named={"annealed_value": value})


def annealed(problem: Quadratic, size: int, sweeps: int, key: Key) -> tuple[np.ndarray, float]:
    """Bits with ``size`` ones and their value; see `AnnealedSelection`."""
    rng, n = key.numpy(), problem.n
    bits = np.zeros(n, bool)
    bits[rng.choice(n, size, replace=False)] = True
    field = 2 * problem.Q @ bits.astype(np.float64)
    value = best = float(problem.value(bits.astype(np.float64)))
    found, steps, hottest = bits.copy(), sweeps * n, 0.0
    for step in range(steps):
        out, into = rng.choice(np.flatnonzero(bits)), rng.choice(np.flatnonzero(~bits))
        change = field[into] - field[out] - 2 * problem.Q[into, out] + problem.Q[into, into] + problem.Q[out, out]
        hottest = max(hottest, abs(change)) if step < n else hottest
        heat = hottest * _COLDEST ** (step / steps)
        if change <= 0 or (heat > 0 and rng.random() < math.exp(-change / heat)):
            bits[out], bits[into] = False, True
            field += 2 * (problem.Q[into] - problem.Q[out])
            value += change
            if value < best - 1e-12:
                best, found = value, bits.copy()
    return found, best
