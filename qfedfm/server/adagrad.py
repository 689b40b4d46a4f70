"""Adagrad on the server, of Reddi et al. (2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.registry import part
from qfedfm.server._steps import PAPER, Adaptive


@part("adagrad", paper=PAPER)
@final
@dataclass(frozen=True)
class Adagrad(Adaptive):
    """FedAdagrad: v ← v + Δ² in `Adaptive`, which gives the rest of the step and its options.

    As in the paper's experiments there is no momentum unless β₁ is set.

    Args:
        beta1: β₁.
    """

    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def second_moment(self, v: Float64[np.ndarray, " d"], square: Float64[np.ndarray, " d"]) -> np.ndarray:
        return np.asarray(v + square)
