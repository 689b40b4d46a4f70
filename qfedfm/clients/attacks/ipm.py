"""Inner-product manipulation: attackers that turn the mean against the honest direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from qfedfm.clients.attack import Attack
from qfedfm.clients.attacks._observed import observed, send_all
from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import ClientId
from qfedfm.core.key import Key
from qfedfm.core.registry import part


@part("ipm", paper="Xie et al., UAI 2019, arXiv 1903.03936")
@final
@dataclass(frozen=True)
class InnerProductManipulation(Attack):
    """Δ̃ = −ε · mean of the honest updates, for every attacker.

    The unweighted mean over h honest clients and f attackers is then (h − εf)/(h + f) times the honest mean: it points
    the other way when ε > h/f. A small ε hides among honest updates of large spread.

    Args:
        epsilon: ε.

    Raises:
        ConfigError: ε is not a positive number.

    Differs from the paper: in a round without honest clients the attackers' own honest training stands in for them;
    values beyond float32 are cut at its largest number.
    """

    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5

    def __post_init__(self) -> None:
        check_fields(self)

    def forge(
        self,
        honest: Float32[np.ndarray, "h d"],
        own: Float32[np.ndarray, "f d"],
        clients: tuple[ClientId, ...],
        key: Key,
    ) -> Float32[np.ndarray, "f d"]:
        return own if not len(own) else send_all(-self.epsilon * observed(honest, own).mean(axis=0), len(own))
