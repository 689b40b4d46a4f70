"""How the fused engine compares itself with the plain model on a few rows before it is used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64

TOLERANCE: Mapping[str, float] = {"float32": 1e-3, "bfloat16": 0.1}
"""Relative differences that are taken for rounding; a wrong gradient is off by about 1."""


def probe_rows(lengths: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " few"]:
    """Up to three rows of different lengths from the shorter half, so that the check is cheap but pads.

    Example:
        >>> probe_rows(np.array([9, 2, 2, 5])).tolist()
        [1, 3, 0]
    """
    _, rows = np.unique(lengths, return_index=True)
    stride = max(1, len(rows) // 6)
    return np.asarray(rows[: 3 * stride : stride])


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """‖found − expected‖ / ‖expected‖ (the numerator alone where the latter is 0); NaN where a value is not finite."""
    scale = float(np.linalg.norm(expected))
    return float(np.linalg.norm(found - expected)) / (scale or 1.0)
