"""The kind of part that a hostile client is."""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Int64

from qfedfm.core.cohort import ClientId
from qfedfm.core.key import Key
from qfedfm.core.parts import Part


class Attack(Part):
    """What hostile clients send instead of their honest update.

    The attackers are omniscient and collude, as in Blanchard et al. (2017) and Baruch et al. (2019): they see the
    honest updates of the round. What they send passes through the same layers and the same wire as every update.
    """

    kind = "attack"
    omniscient: ClassVar[bool] = True
    """Whether `forge` reads ``honest``, so that the updates of a round must be kept until all are there; where it does
    not, each attacker's update is forged by itself, with ``honest`` empty."""

    @abc.abstractmethod
    def forge(
        self,
        honest: Float32[np.ndarray, "h d"],
        own: Float32[np.ndarray, "f d"],
        clients: tuple[ClientId, ...],
        key: Key,
    ) -> Float32[np.ndarray, "f d"]:
        """The deltas of the f hostile clients.

        Args:
            honest: deltas of the h honest clients of the round (h may be 0).
            own: what the hostile clients would have sent after training, on relabelled data if `relabel` changes any.
            clients: the ids of the hostile clients, by which ``key`` is folded where each draws its own noise.
            key: already folded by round and purpose.
        """

    def relabel(self, labels: Int64[np.ndarray, " n"], classes: int) -> Int64[np.ndarray, " n"]:
        """The labels that a hostile client trains on; unchanged unless the attack poisons data."""
        return labels
