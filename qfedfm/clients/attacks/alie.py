"""A little is enough: attackers that hide within the spread of the honest updates."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
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


@part("alie", paper="Baruch et al., NeurIPS 2019, arXiv 1902.06156")
@final
@dataclass(frozen=True)
class Alie(Attack):
    """Δ̃ = μ − z·σ for every attacker, with μ and σ the mean and the standard deviation of each coordinate.

    σ is the sample's (divided by h − 1; zero for a single honest client).

    Args:
        z: how many standard deviations; None takes `z_max` of the round's numbers of clients.

    Raises:
        ConfigError: z is negative or not finite.

    Differs from the paper: μ and σ are those of the round's honest updates, which the attackers see; the paper's
    attackers estimate them from their own honest training, as is done here in a round without honest clients.
    """

    z: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def forge(
        self,
        honest: Float32[np.ndarray, "h d"],
        own: Float32[np.ndarray, "f d"],
        clients: tuple[ClientId, ...],
        key: Key,
    ) -> Float32[np.ndarray, "f d"]:
        if not len(own):
            return own
        seen = observed(honest, own)
        mean = seen.mean(axis=0)
        spread = seen.std(axis=0, ddof=1) if len(seen) > 1 else np.zeros_like(mean)
        z = z_max(len(seen) + len(own), len(own)) if self.z is None else self.z
        return send_all(mean - z * spread, len(own))


def z_max(n: int, f: int) -> float:
    """The largest z with Φ(z) < (n − f − s)/(n − f), s = ⌊n/2 + 1⌋ − f honest supporters needed for a majority.

    Args:
        n: clients in the round.
        f: attackers among them, fewer than n.

    Differs from the paper: at least one supporter is needed even where the attackers are a majority, which would make
    z infinite, and z is at least 0, since a negative one would pull the other way.

    Example:
        >>> round(z_max(50, 24), 2)
        1.43
    """
    honest = n - f
    supporters = max(1, n // 2 + 1 - f)
    share = (honest - supporters) / honest
    return max(0.0, NormalDist().inv_cdf(share)) if share > 0 else 0.0
