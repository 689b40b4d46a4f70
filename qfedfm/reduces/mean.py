"""The weighted mean of McMahan et al. (2017), FedAvg's reduce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from qfedfm.core.cohort import Cohort, Reduced, State
from qfedfm.core.parts import Law, Reduce, ServerAt
from qfedfm.core.registry import part
from qfedfm.core.sums import weighted_sum


@part("mean", paper="McMahan et al., AISTATS 2017, arXiv 1602.05629")
@final
@dataclass(frozen=True)
class Mean(Reduce):
    """Σₖ nₖ Δₖ / Σₖ nₖ.

    Differs from the paper: averages deltas instead of weights, which is the same when all start from one model.

    Example:
        >>> import qfedfm as qf
        >>> qf.stack(reduce=qf.reduces.Mean()).reduce.name
        'mean'
    """

    laws = Reduce.laws | {Law.TRANSLATION, Law.CONVEX}

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        shares = cohort.shares
        return Reduced(weighted_sum(shares, cohort.X), row_weights=shares), state
