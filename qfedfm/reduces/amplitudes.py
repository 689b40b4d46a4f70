"""The closest classical twin of the Born aggregator: squared amplitudes without a circuit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.reduces.variational import LearnedWeights, Point, Pullback


@part("amplitudes", paper="a²/‖a‖², the classical twin of Born weights")
@final
@dataclass(frozen=True)
class Amplitudes(LearnedWeights):
    """w_k ∝ n_k a_k² / ‖a‖²: the real amplitudes themselves are the K parameters, one for each client.

    All real states of ⌈log₂ K⌉ qubits without a circuit to make them; trained as the Born aggregator is.
    ∂p_k/∂a_j = 2 a_k (δ_jk − p_k a_j / a_k) / ‖a‖².
    """

    def initial(self, clients: int) -> Float64[np.ndarray, " p"]:
        return np.full(clients, clients**-0.5)

    def evaluate(self, theta: Float64[np.ndarray, "*b p"], clients: int, key: Key) -> tuple[Point, Pullback]:
        norm2 = np.vecdot(theta, theta)[..., None]
        p = theta**2 / norm2
        return Point(p), lambda v: 2 * theta * (v - np.vecdot(v, p)[..., None]) / norm2
