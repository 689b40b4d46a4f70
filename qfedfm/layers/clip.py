"""Clipping of an update to a largest L2 norm, on both sides of the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.float32 import require_finite
from qfedfm.core.parts import At, Law, VectorLayer
from qfedfm.core.registry import part


@part("clip", paper="McMahan et al., ICLR 2018, arXiv 1710.06963")
@final
@dataclass(frozen=True)
class Clip(VectorLayer):
    """x · min(1, C/‖x‖) with the L2 norm over the whole update, in float64.

    The server clips what arrives once more, since a hostile client need not: whatever a client sends, the cohort holds
    a row of norm at most C. An honest update that was clipped before arrives unchanged.

    Args:
        clipping_norm: C, in the units of the update.

    Raises:
        ConfigError: C is not a positive number.
        PayloadError: a value is NaN or infinite, or the length differs.

    Differs from the paper: the factor is 2⁻²³ smaller, so that rounding to float32 never lifts the norm above C.
    """

    clipping_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    laws = VectorLayer.laws - {Law.ROUND_TRIP}
    one_sided = True
    exempt = {Law.ROUND_TRIP: "an update longer than clipping_norm is shortened on purpose"}  # noqa: RUF012

    def __post_init__(self) -> None:
        check_fields(self)

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> Float32[np.ndarray, " d"]:
        require_finite(x, at.layout)
        return self._clipped(x)

    def decode(self, y: Float32[np.ndarray, " d"], at: At) -> Float32[np.ndarray, " d"]:
        require_finite(y, at.layout)
        return self._clipped(y)

    def _clipped(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        norm = float(np.sqrt(wide @ wide))
        if norm <= self.clipping_norm:
            return x
        return np.asarray(wide * (self.clipping_norm / norm * (1 - 2.0**-23)), np.float32)
