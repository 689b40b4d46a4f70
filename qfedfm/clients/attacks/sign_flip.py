"""Clients that send the opposite of what they learned."""

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


@part("sign-flip", paper="Li et al., AAAI 2019, arXiv 1811.03761")
@final
@dataclass(frozen=True)
class SignFlip(Attack):
    """Δ̃ₖ = −scale · Δₖ, each attacker from its own honest training.

    Args:
        scale: how many times as long as the honest update the forged one is; 1 cannot be told by its norm.

    Raises:
        ConfigError: the scale is not a positive number.

    Differs from the paper: flips deltas where the paper flips model weights; values beyond float32 are cut at its
    largest number.

    Example:
        >>> own = np.array([[1.0, -2.0]], np.float32)
        >>> SignFlip(scale=3.0).forge(np.zeros((0, 2), np.float32), own, (4,), Key.of(0)).tolist()
        [[-3.0, 6.0]]
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
        return send(-self.scale * own.astype(np.float64))
