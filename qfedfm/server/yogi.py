"""Yogi on the server, of Reddi et al. (2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.registry import part
from qfedfm.server._steps import PAPER, Adaptive


@part("yogi", paper=PAPER)
@final
@dataclass(frozen=True)
class Yogi(Adaptive):
    """FedYogi: v ← v − (1 − β₂)Δ² sign(v − Δ²) in `Adaptive`, which gives the rest of the step and its options.

    v changes by an amount that depends on Δ only, so that it falls slowly after a large delta.

    Args:
        beta2: β₂.
    """

    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99

    def second_moment(self, v: Float64[np.ndarray, " d"], square: Float64[np.ndarray, " d"]) -> np.ndarray:
        return np.asarray(v - (1 - self.beta2) * square * np.sign(v - square))
