"""What colluding attackers know of a round, and the float32 vectors that they can send."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32


def observed(honest: Float32[np.ndarray, "h d"], own: Float32[np.ndarray, "f d"]) -> Float[np.ndarray, "m d"]:
    """The updates that the attackers take statistics of, float64: those of the honest clients that are finite.

    Without any, the attackers' own honest training stands in for them, as it does in Baruch et al. (2019).
    """
    finite = honest[np.isfinite(honest).all(axis=1)]
    return (finite if len(finite) else own).astype(np.float64)


def send(vector: Float[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The vector in float32, cut at its largest number: an infinite update would only be refused at the server."""
    largest = float(np.finfo(np.float32).max)
    return np.clip(vector, -largest, largest).astype(np.float32)


def send_all(vector: Float[np.ndarray, " d"], f: int) -> Float32[np.ndarray, "f d"]:
    """The same vector from each of f attackers."""
    return np.repeat(send(vector)[None], f, axis=0)
