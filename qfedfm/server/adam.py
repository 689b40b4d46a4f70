"""Adam on the server, of Reddi et al. (2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.registry import part
from qfedfm.server._steps import PAPER, Adaptive


@part("adam", paper=PAPER)
@final
@dataclass(frozen=True)
class Adam(Adaptive):
    """FedAdam: v ← β₂v + (1 − β₂)Δ² in `Adaptive`, which gives the rest of the step and its options.

    Args:
        beta2: β₂.
    """

    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99

    def second_moment(self, v: Float64[np.ndarray, " d"], square: Float64[np.ndarray, " d"]) -> np.ndarray:
        return np.asarray(self.beta2 * v + (1 - self.beta2) * square)
