"""A classical twin of the Born aggregator: the softmax of one number for each client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.reduces.variational import LearnedWeights, Point, Pullback


@part("softmax", paper="the usual way to learn weights on a simplex, a classical twin of Born weights")
@final
@dataclass(frozen=True)
class Softmax(LearnedWeights):
    """w_k ∝ n_k exp(θ_k): K parameters, one for each client; trained as the Born aggregator is.

    Args:
        lr: of Adam; larger than for amplitudes, because a logit has further to go than an amplitude.
    """

    lr: float = 0.3

    def initial(self, clients: int) -> Float64[np.ndarray, " p"]:
        return np.zeros(clients)

    def evaluate(self, theta: Float64[np.ndarray, "*b p"], clients: int, key: Key) -> tuple[Point, Pullback]:
        p = np.exp(theta - theta.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        return Point(p), lambda v: p * (v - np.vecdot(v, p)[..., None])
