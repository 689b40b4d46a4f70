"""What the parties hold after reconciliation, and what it told an eavesdropper."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True)
class Reconciled:
    """Both strings, equal but for frames whose errors nobody noticed: a verification hash decides.

    Args:
        alice: her bits, without those of frames that were dropped.
        bob: his, corrected.
        disclosed: bits about her string that Alice sent.
        asked: bits about his string that Bob sent.
        frames: how many the strings were cut into.
        failed: how many of them were dropped on both sides.
    """

    alice: UInt8[np.ndarray, " n"] = field(repr=False)
    bob: UInt8[np.ndarray, " n"] = field(repr=False)
    disclosed: int
    asked: int
    frames: int
    failed: int
