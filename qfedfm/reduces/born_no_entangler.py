"""The Born aggregator without its entangler: what is left when the qubits do not interact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from qfedfm.core.registry import part
from qfedfm.quantum.ansatz import Entangler
from qfedfm.reduces.born import BornWeights


@part(
    "born-no-entangler",
    paper="Bowles, Ahmed & Schuld 2024, arXiv 2403.07059 (the control)",
    quantum=True,
    twins=("amplitudes", "softmax", "simplex"),
    control_of="born",
)
@final
@dataclass(frozen=True)
class BornNoEntangler(BornWeights):
    """`BornWeights` with as many rotations and no entangler: p_k = ∏_q Bernoulli(k_q; sin²(Σ_l θ_lq / 2)).

    A product of ⌈log₂ K⌉ independent bits, which most client weights are not.
    """

    def wiring(self) -> Entangler:
        return "none"
