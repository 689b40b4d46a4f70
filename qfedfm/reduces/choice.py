"""What a search over choices of clients found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool

from qfedfm.reduces.cost import Cost


@dataclass(frozen=True)
class Choice:
    """Which clients were taken.

    Args:
        bits: one for each client, in ascending order of the ids.
        cost: of finding them.
        named: numbers for the history.
    """

    bits: Bool[np.ndarray, " n"]
    cost: Cost = field(default_factory=Cost)
    named: dict[str, float] = field(default_factory=dict)
