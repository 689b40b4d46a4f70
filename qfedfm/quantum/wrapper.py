"""Executors around an executor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from qfedfm.core.checks import check_fields
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Executor, ExecutorField, Outcome


@dataclass(frozen=True)
class Wrapper(Executor):
    """Runs other or further circuits on the executor inside of it, or computes something from what that gives.

    Args:
        inner: where the circuits run.
    """

    inner: ExecutorField

    def __post_init__(self) -> None:
        check_fields(self)

    def calibration(self, circuit: Circuit, key: Key) -> Outcome:
        return self.inner.calibration(circuit, key)

    def counted(self, outcome: Outcome) -> Int64[np.ndarray, "b n"]:
        """The counts of an outcome.

        Raises:
            ConfigError: it has none, so that this wrapper has nothing to work on.
        """
        if outcome.counts is None:
            given = f"executor {self.name!r} around {self.inner.name!r}, which gives no counts"
            raise ConfigError(given, "an executor with shots", "put this one nearest to the device")
        return outcome.counts
