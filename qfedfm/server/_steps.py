"""Arithmetic that the server optimisers share."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64


def moved(model: Float32[np.ndarray, " d"], by: Float64[np.ndarray, " d"]) -> Float32[np.ndarray, " d"]:
    """Model + by, added in float64 and rounded once; what is beyond float32 is set to its largest number."""
    largest = np.finfo(np.float32).max
    return np.asarray(np.clip(model.astype(np.float64) + by, -largest, largest), np.float32)


def adaptive(
    momentum: Float64[np.ndarray, " d"], second: Float64[np.ndarray, " d"], lr: float, tau: float
) -> Float64[np.ndarray, " d"]:
    """η m / (√v + τ), the step of Algorithm 2 in Reddi et al. (2021)."""
    return np.asarray(lr * momentum / (np.sqrt(second) + tau))
