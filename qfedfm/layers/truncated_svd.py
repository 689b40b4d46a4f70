"""The codec that sends each matrix as the product of two smaller ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from qfedfm.core.folding import Folding
from qfedfm.core.registry import part
from qfedfm.layers._low_rank import LowRank


@part("truncated-svd", paper="Eckart & Young, Psychometrika 1, 211, 1936")
@final
@dataclass(frozen=True)
class TruncatedSvd(LowRank):
    """Each matrix as its best approximation of low rank: U (Σ Vᵀ), a tensor train of two cores.

    The twin of `TensorTrainCodec`, with the same knobs, threshold, precisions and body. The ranks of all matrices come
    from one threshold on σ²/(m + n), the best choice for the numbers that they take together.

    Args:
        error: ε < 1, and at least 2⁻⁸ in other precisions than float32. Without either knob it is 0.3.
        bits: instead of it, the average bits a coordinate.
        precision: of the two factors: ``float32``, ``bfloat16``, or ``int8`` with a float32 scale for each rank. What
            travels as it is does so in float32 for the first, in bfloat16 for both others.

    Raises:
        ConfigError: both knobs are given, or the error is below the precision's.
        PayloadError: a value is NaN or infinite, or the length differs.

    Differs from the paper: the factors are rounded.
    """

    def folding(self, shape: tuple[int, ...]) -> Folding:
        return Folding.of(shape, 1, "plain")
