"""Plain fidelity, blind to sign: what is left of the fidelity aggregator without its constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from qfedfm.core.registry import part
from qfedfm.reduces.fidelity import FidelityTest
from qfedfm.reduces.similarity import SimilarityWeights


@part(
    "fidelity-unsigned",
    paper="Buhrman et al., PRL 87, 167902 (2001) (the control: plain amplitude encoding)",
    quantum=True,
    twins=("cosine",),
    control_of="fidelity",
)
@final
@dataclass(frozen=True)
class FidelityUnsigned(FidelityTest, SimilarityWeights):
    """`Fidelity` with plain amplitude encoding: F = cos², of 2^q numbers, 1/2^q for unrelated updates.

    F(δ, −3δ) = 1: who sends the opposite of what was learned looks as honest as the others.
    """

    constant: ClassVar[bool] = False
