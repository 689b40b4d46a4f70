"""Adam on the server, of Reddi et al. (2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import State
from qfedfm.core.layout import Layout
from qfedfm.core.parts import ServerOptimizer
from qfedfm.core.registry import part
from qfedfm.server._steps import adaptive, moved


@part("adam", paper="Reddi et al., ICLR 2021, arXiv 2003.00295, algorithm 2")
@final
@dataclass(frozen=True)
class Adam(ServerOptimizer):
    """FedAdam: m ← β₁m + (1 − β₁)Δ, v ← β₂v + (1 − β₂)Δ², x ← x + ηm/(√v + τ), from m = 0 and v = τ².

    As in the paper there is no bias correction: the first steps are damped by 1 − β₁.

    State: ``momentum`` and ``second_moment`` (d each, float64, so that the square of a huge delta is finite).

    Args:
        lr: η; the paper tunes it for each task and names no default.
        beta1: of the first moment.
        beta2: of the second moment.
        tau: τ, how adaptive the method is; the smaller, the more alike are the steps of all coordinates.

    Raises:
        ConfigError: β₁ or β₂ is not in [0, 1), or η or τ is not positive.

    Differs from the paper: starts at v = τ², the smallest value that the algorithm allows (v ≥ τ²).
    """

    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    tau: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3

    def __post_init__(self) -> None:
        check_fields(self)

    def init(self, layout: Layout) -> State:
        return {"momentum": np.zeros(layout.size), "second_moment": np.full(layout.size, self.tau**2)}

    def step(
        self, model: Float32[np.ndarray, " d"], delta: Float32[np.ndarray, " d"], state: State
    ) -> tuple[Float32[np.ndarray, " d"], State]:
        square = np.square(delta, dtype=np.float64)
        momentum = self.beta1 * state["momentum"] + (1 - self.beta1) * delta.astype(np.float64)
        second = self.beta2 * state["second_moment"] + (1 - self.beta2) * square
        step = adaptive(momentum, second, self.lr, self.tau)
        return moved(model, step), {"momentum": momentum, "second_moment": second}
