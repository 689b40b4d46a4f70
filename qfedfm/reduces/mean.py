"""The weighted mean of McMahan et al. (2017), FedAvg's reduce."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32, Float64

from qfedfm.core.cohort import ClientId, Reduced
from qfedfm.core.held import Held
from qfedfm.core.parts import Law, SumReduce
from qfedfm.core.registry import part
from qfedfm.core.sums import RunningMean


@part("mean", paper="McMahan et al., AISTATS 2017, arXiv 1602.05629")
@final
@dataclass(frozen=True)
class Mean(SumReduce):
    """Σₖ nₖ Δₖ / Σₖ nₖ.

    Where clients hold different ranks, each coordinate is averaged over those that hold it (Diao et al., ICLR 2021,
    arXiv 2010.01264, equation 1), and no weight of a client is reported, because it has several.

    Differs from the paper: averages deltas instead of weights, which is the same when all start from one model.

    Example:
        >>> import qfedfm as qf
        >>> qf.stack(reduce=qf.reduces.Mean()).reduce.name
        'mean'
    """

    per_holder = True
    laws = SumReduce.laws | {Law.TRANSLATION, Law.CONVEX}

    def accumulator(self, d: int) -> RunningMean:
        return RunningMean(d)

    def row_weights(self, weights: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        return np.asarray(weights / weights.sum())

    def result(
        self,
        vector: Float32[np.ndarray, " d"],
        clients: Sequence[ClientId],
        weights: Float64[np.ndarray, " n"],
        held: Held | None,
    ) -> Reduced:
        if held is None:
            return super().result(vector, clients, weights, held)
        return Reduced(held.mean_of_holders(vector, clients, weights))
