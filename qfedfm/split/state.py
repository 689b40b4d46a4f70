"""The state of a run between two rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from qfedfm.core.cohort import ClientId, State


@dataclass(frozen=True)
class SplitState:
    """Everything that the next round depends on, besides configuration, task and seed.

    Args:
        round: rounds that are finished.
        shallow: the shallow part, which travels.
        deep: the deep part, which never leaves the server.
        optimizer: state of the deep part's optimiser.
        counts: rows of each label by client, as the server has read them in the census.
        history: the records of the finished rounds, as JSON values.
    """

    round: int
    shallow: Float32[np.ndarray, " s"]
    deep: Float32[np.ndarray, " t"]
    optimizer: State
    counts: Mapping[ClientId, np.ndarray]
    history: tuple[Mapping[str, Any], ...]

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name, for a file; with ``round`` and ``history``, all that `restored` needs."""
        ids = sorted(self.counts)
        return {
            "shallow": self.shallow,
            "deep": self.deep,
            "clients": np.array(ids, np.int64),
            "counts": np.stack([self.counts[client] for client in ids]),
            **{f"optimizer/{name}": np.asarray(value) for name, value in self.optimizer.items()},
        }

    @classmethod
    def restored(
        cls, arrays: Mapping[str, np.ndarray], round_: int, history: tuple[Mapping[str, Any], ...]
    ) -> SplitState:
        """The state that `arrays` was taken of."""
        optimizer = {
            name.removeprefix("optimizer/"): array for name, array in arrays.items() if name.startswith("optimizer/")
        }
        counts = dict(zip(arrays["clients"].tolist(), arrays["counts"], strict=True))
        return cls(round_, arrays["shallow"], arrays["deep"], optimizer, counts, history)
