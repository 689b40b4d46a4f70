"""How far a codec's output may be from its input: what error feedback and the laws rely on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unbiased:
    """E C(x) = x and E‖C(x) − x‖² ≤ ω ‖x‖², over the codec's own randomness. Exact where ω is 0.

    Args:
        omega: ω ≥ 0.
    """

    omega: float

    @property
    def delta(self) -> float:
        """δ = 1/(1 + ω) of the contraction C(x)/(1 + ω)."""
        return 1.0 / (1.0 + self.omega)


@dataclass(frozen=True)
class Contractive:
    """E‖C(x) − x‖² ≤ (1 − δ) ‖x‖², for 0 ≤ δ ≤ 1; a biased codec, which wants error feedback.

    Args:
        delta: δ. At 0 the output is no further from the input than zero is.
    """

    delta: float


@dataclass(frozen=True)
class Bounded:
    """|C(x)ᵢ − xᵢ| ≤ ρ maxⱼ|xⱼ| in each coordinate: for a biased codec whose error no multiple of ‖x‖₂ bounds.

    Below 1 it contracts in the maximum norm, so that what error feedback remembers stays bounded as well.

    Args:
        rho: ρ ≥ 0.
    """

    rho: float


Distortion = Unbiased | Contractive | Bounded
