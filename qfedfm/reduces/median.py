"""The coordinate-wise median of Yin et al. (2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from qfedfm.core.cohort import Cohort, Reduced, State
from qfedfm.core.parts import Law, Reduce, ServerAt
from qfedfm.core.registry import part
from qfedfm.reduces._columns import over_sorted_columns


@part("median", paper="Yin et al., ICML 2018, arXiv 1803.01498")
@final
@dataclass(frozen=True)
class Median(Reduce):
    """vⱼ = median of {x₁ⱼ, …, xₙⱼ} for each coordinate j (Definition 1); the mean of the middle two for even n.

    Every update counts once, whatever its sample weight. The result is no weighted sum of updates, so that no row
    weights are reported; each coordinate lies between the smallest and the largest honest value while fewer than half
    of the updates are hostile.

    Differs from the paper: takes updates after several local steps instead of gradients.

    Example:
        >>> import qfedfm as qf
        >>> qf.stack(reduce=qf.reduces.Median()).reduce.name
        'median'
    """

    laws = Reduce.laws | {Law.TRANSLATION}

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        return Reduced(over_sorted_columns(cohort.X, _middle)), state


def _middle(columns: np.ndarray) -> np.ndarray:
    n = columns.shape[1]
    # Halving in float64 neither overflows near the largest float32 nor loses the last bit of a subnormal one.
    return np.asarray((columns[:, (n - 1) // 2].astype(np.float64) + columns[:, n // 2]) / 2)
