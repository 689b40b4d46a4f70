"""Noise on what a mediator says about the shallow part."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from qfedfm.core.key import Key


def noised(
    update: Float32[np.ndarray, " d"], clipping_norm: float | None, noise: float, key: Key
) -> Float32[np.ndarray, " d"]:
    """Δ · min(1, C / ‖Δ‖) + N(0, σ²C² I): the Gaussian mechanism of Abadi et al. (CCS 2016) on a whole update.

    Args:
        update: Δ.
        clipping_norm: C; None for no limit.
        noise: σ; 0 adds nothing.
        key: draws the noise.

    Example:
        >>> noised(np.float32([3, 4]), 2.5, 0.0, Key.of(1)).tolist()
        [1.5, 2.0]
    """
    if clipping_norm is None:
        return update
    exact = update.astype(np.float64)
    norm = float(np.linalg.norm(exact))
    clipped = exact if norm <= clipping_norm else exact * (clipping_norm / norm)
    drawn = key.numpy().normal(size=update.shape) * (noise * clipping_norm) if noise else 0.0
    return np.asarray(clipped + drawn, np.float32)
