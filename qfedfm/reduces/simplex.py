"""A classical twin of the Born aggregator: the probabilities themselves, by exponentiated gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from qfedfm.core.cohort import State
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.reduces.variational import LearnedWeights, Point, Pullback

_FLOOR = 1e-9
"""No probability falls below this share of an equal one: from 0 exponentiated gradient would never come back."""


@part("simplex", paper="Kivinen & Warmuth, Information and Computation 132 (1997)")
@final
@dataclass(frozen=True)
class Simplex(LearnedWeights):
    """w_k ∝ n_k p_k with the probabilities themselves as parameters, p ← p · exp(−lr ∇_p) / Z.

    Mirror descent with the entropy, whose steps stay on the simplex. At equal sample counts and probabilities ∇_p is
    the slope of a client less the mean slope. With all clients present the fixed point is w_k ∝ n_k exp(−s̃_k / trust).

    Args:
        lr: of the exponentiated gradient; no Adam here.

    Differs from the paper: probabilities are kept above 1e-9 / K, so that a client that was excluded can return.
    """

    lr: float = 0.3

    def initial(self, clients: int) -> Float64[np.ndarray, " p"]:
        return np.full(clients, 1 / clients)

    def evaluate(self, theta: Float64[np.ndarray, "*b p"], clients: int, key: Key) -> tuple[Point, Pullback]:
        return Point(theta), lambda v: v

    def advance(
        self, theta: Float64[np.ndarray, "*b p"], gradient: Float64[np.ndarray, "*b p"], moments: State
    ) -> tuple[Float64[np.ndarray, "*b p"], State]:
        step = -self.lr * gradient
        p = theta * np.exp(step - step.max(-1, keepdims=True))
        p = np.maximum(p / p.sum(-1, keepdims=True), _FLOOR / p.shape[-1])
        return p / p.sum(-1, keepdims=True), moments
