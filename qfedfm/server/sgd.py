"""Server momentum of Hsu et al. (2019), FedAvgM; without momentum it is FedAvg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import EMPTY, State
from qfedfm.core.layout import Layout
from qfedfm.core.parts import ServerOptimizer
from qfedfm.core.registry import part
from qfedfm.server._steps import moved


@part("sgd", paper="Hsu et al., 2019, arXiv 1909.06335")
@final
@dataclass(frozen=True)
class Sgd(ServerOptimizer):
    """v ← βv + Δ, x ← x + ηv, from v = 0; with η = 1 and β = 0 it is FedAvg, x + Δ.

    State: ``momentum`` (d, float64), or nothing when β = 0.

    Args:
        lr: η.
        momentum: β.

    Raises:
        ConfigError: η is not positive, or β is not in [0, 1).

    Differs from the paper: has a learning rate η, which is 1 there.

    Example:
        >>> import numpy as np
        >>> model, state = Sgd().step(np.float32([1, 2]), np.float32([0.5, -2]), {})
        >>> model.tolist()
        [1.5, 0.0]
    """

    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def __post_init__(self) -> None:
        check_fields(self)

    def init(self, layout: Layout) -> State:
        return {"momentum": np.zeros(layout.size)} if self.momentum else EMPTY

    def step(
        self, model: Float32[np.ndarray, " d"], delta: Float32[np.ndarray, " d"], state: State
    ) -> tuple[Float32[np.ndarray, " d"], State]:
        if not self.momentum:
            return moved(model, self.lr * delta.astype(np.float64)), state
        velocity = self.momentum * state["momentum"] + delta
        return moved(model, self.lr * velocity), {"momentum": velocity}
