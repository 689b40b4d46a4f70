"""Clients that train on mirrored labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float32, Int64

from qfedfm.clients.attack import Attack
from qfedfm.core.cohort import ClientId
from qfedfm.core.key import Key
from qfedfm.core.registry import part


@part("label-flip", paper="Fang et al., USENIX Security 2020, arXiv 1911.11815, section 5.1")
@final
@dataclass(frozen=True)
class LabelFlip(Attack):
    """y → C − 1 − y of C classes, then honest training; what is sent is the update of that training.

    With an odd number of classes the middle one keeps its label: of three sentiments, negative and positive swap.

    Example:
        >>> LabelFlip().relabel(np.array([0, 1, 2]), 3).tolist()
        [2, 1, 0]
    """

    omniscient: ClassVar[bool] = False

    def relabel(self, labels: Int64[np.ndarray, " n"], classes: int) -> Int64[np.ndarray, " n"]:
        return classes - 1 - labels

    def forge(
        self,
        honest: Float32[np.ndarray, "h d"],
        own: Float32[np.ndarray, "f d"],
        clients: tuple[ClientId, ...],
        key: Key,
    ) -> Float32[np.ndarray, "f d"]:
        return own
