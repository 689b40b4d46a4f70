"""Clients that send noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from qfedfm.clients.attack import Attack
from qfedfm.clients.attacks._observed import send
from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import ClientId
from qfedfm.core.key import Key
from qfedfm.core.registry import part


@part("gaussian", paper="Blanchard et al., NeurIPS 2017, arXiv 1703.02757")
@final
@dataclass(frozen=True)
class Gaussian(Attack):
    """Δ̃ₖ ~ N(0, σₖ² I) with σₖ = scale · ‖Δₖ‖₂ / √d: noise in place of the update, so that E‖Δ̃ₖ‖² = scale²·‖Δₖ‖².

    Each attacker draws its own noise, from the key folded by its client id.

    Args:
        scale: the standard deviation of a coordinate, in units of the root mean square of the attacker's own update.

    Raises:
        ConfigError: the scale is not a positive number.

    Differs from the paper: its standard deviation is 200 whatever the updates measure; here it is relative, so that a
    scale means the same for every model.
    """

    omniscient: ClassVar[bool] = False

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    def __post_init__(self) -> None:
        check_fields(self)

    def forge(
        self,
        honest: Float32[np.ndarray, "h d"],
        own: Float32[np.ndarray, "f d"],
        clients: tuple[ClientId, ...],
        key: Key,
    ) -> Float32[np.ndarray, "f d"]:
        rms = np.sqrt(np.mean(np.square(own.astype(np.float64)), axis=1))
        noise = [key.fold(client).numpy().standard_normal(own.shape[1]) for client in clients]
        return send(self.scale * rms[:, None] * np.reshape(noise, own.shape))
