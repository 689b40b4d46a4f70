"""The weighted mean of McMahan et al. (2017), FedAvg's reduce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from qfedfm.core.parts import Law, SumReduce
from qfedfm.core.registry import part
from qfedfm.core.sums import RunningMean


@part("mean", paper="McMahan et al., AISTATS 2017, arXiv 1602.05629")
@final
@dataclass(frozen=True)
class Mean(SumReduce):
    """Σₖ nₖ Δₖ / Σₖ nₖ.

    Differs from the paper: averages deltas instead of weights, which is the same when all start from one model.

    Example:
        >>> import qfedfm as qf
        >>> qf.stack(reduce=qf.reduces.Mean()).reduce.name
        'mean'
    """

    laws = SumReduce.laws | {Law.TRANSLATION, Law.CONVEX}

    def accumulator(self, d: int) -> RunningMean:
        return RunningMean(d)

    def row_weights(self, weights: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        return np.asarray(weights / weights.sum())
