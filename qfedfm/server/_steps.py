"""What the server optimisers share: a step rounded once, and Algorithm 2 of Reddi et al. (2021)."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float32, Float64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import State
from qfedfm.core.layout import Layout
from qfedfm.core.parts import ServerOptimizer

PAPER = "Reddi et al., ICLR 2021, arXiv 2003.00295, algorithm 2"


def moved(model: Float32[np.ndarray, " d"], by: Float64[np.ndarray, " d"]) -> Float32[np.ndarray, " d"]:
    """Model + by, added in float64 and rounded once; what is beyond float32 is set to its largest number."""
    largest = np.finfo(np.float32).max
    return np.asarray(np.clip(model.astype(np.float64) + by, -largest, largest), np.float32)


@dataclass(frozen=True)
class Adaptive(ServerOptimizer):
    """m ← β₁m + (1 − β₁)Δ, v ← what the method says, x ← x + ηm/(√v + τ), from m = 0 and v = τ².

    As in the paper there is no bias correction: the first steps are damped by 1 − β₁.

    State: ``momentum`` and ``second_moment`` (d each, float64, so that the square of a huge delta is finite).

    Args:
        lr: η; the paper tunes it for each task and names no default.
        beta1: β₁, of the first moment.
        tau: τ, how adaptive the method is; the smaller, the more alike are the steps of all coordinates.

    Raises:
        ConfigError: a β is not in [0, 1), or η or τ is not positive.

    Differs from the paper: starts at v = τ², the smallest value that the algorithm allows (v ≥ τ²).
    """

    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    tau: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3

    def __post_init__(self) -> None:
        check_fields(self)

    @abc.abstractmethod
    def second_moment(self, v: Float64[np.ndarray, " d"], square: Float64[np.ndarray, " d"]) -> np.ndarray:
        """The next v, from v and Δ²."""

    def init(self, layout: Layout) -> State:
        return {"momentum": np.zeros(layout.size), "second_moment": np.full(layout.size, self.tau**2)}

    def step(
        self, model: Float32[np.ndarray, " d"], delta: Float32[np.ndarray, " d"], state: State
    ) -> tuple[Float32[np.ndarray, " d"], State]:
        momentum = self.beta1 * state["momentum"] + (1 - self.beta1) * delta.astype(np.float64)
        second = self.second_moment(state["second_moment"], np.square(delta, dtype=np.float64))
        step = self.lr * momentum / (np.sqrt(second) + self.tau)
        return moved(model, step), {"momentum": momentum, "second_moment": second}
