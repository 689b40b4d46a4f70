"""The codec that sends each matrix as a tensor train (matrix product state)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

from pydantic import Field

from qfedfm.core.errors import ConfigError
from qfedfm.core.folding import Folding, Order
from qfedfm.core.registry import part
from qfedfm.layers._low_rank import LowRank


@part(
    "tensor-train",
    paper="Oseledets, SIAM J. Sci. Comput. 33, 2295, 2011; Novikov et al., 2015, arXiv 1509.06569; "
    "Tomut et al. (CompactifAI), 2024, arXiv 2401.14109",
    twins=("truncated-svd",),
)
@final
@dataclass(frozen=True)
class TensorTrainCodec(LowRank):
    """Each matrix folded into a tensor of small axes, and that as a tensor train cut off by its singular values.

    Quantum-inspired: a matrix product state of low entanglement between its axes, computed on a classical machine. The
    ranks of all bonds of all tensors come from one threshold on σ² per number that the rank costs; the cores are those
    of a TT-SVD with these ranks. A tensor whose train is no smaller, and every vector, travels as it is.

    With ``error`` ‖x̂ − x‖ ≤ error · ‖x‖ over the whole vector, its rounding included, which the sender checks: a
    contraction with δ = 1 − error². With ``bits`` the body has at most so many bits a coordinate, unless the vectors
    and ranks alone take more; x̂ is then no further from x than zero is.

    Args:
        error: ε < 1, and at least 2⁻⁸ in other precisions than float32. Without either knob it is 0.3.
        bits: instead of it, the average bits a coordinate.
        precision: of the cores: ``float32``, ``bfloat16``, or ``int8`` with a float32 scale for each rank. What travels
            as it is does so in float32 for the first, in bfloat16 for both others.
        order: ``plain`` folds rows, then columns; ``paired`` pairs a factor of the rows with one of the columns, as a
            matrix product operator does.
        factors: of the rows, and of the columns: a plain train has twice as many cores, a paired one as many. Paired,
            at least two.

    Raises:
        ConfigError: both knobs are given, the error is below the precision's, or one factor is to be paired.
        PayloadError: a value is NaN or infinite, or the length differs.

    Differs from the papers: they compress weights with given ranks and train them further; here updates are compressed
    once, with ranks that follow the data.
    """

    order: Order = "plain"
    factors: Annotated[int, Field(ge=1, le=8)] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order == "paired" and self.factors < 2:
            raise ConfigError("a paired tensor train with factors = 1", "at least 2", 'or take order = "plain"')

    def folding(self, shape: tuple[int, ...]) -> Folding:
        return Folding.of(shape, self.factors, self.order)
