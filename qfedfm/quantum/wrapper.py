"""Executors around an executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64, Int64

from qfedfm.core.checks import check_fields
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Column, Demand, Executor, ExecutorField, Outcome


@dataclass(frozen=True)
class Wrapper(Executor):
    """Runs other or further circuits on the executor inside of it, or computes something from what that gives.

    Args:
        inner: where the circuits run.

    Raises:
        ConfigError: somewhere inside is an executor that this one makes no sense around.
    """

    senseless: ClassVar[Mapping[str, str]] = {}
    """Executors that must not be inside, each with the reason."""

    inner: ExecutorField

    def __post_init__(self) -> None:
        check_fields(self)
        for inside in chain(self.inner):
            if inside.name in self.senseless:
                given = f"executor {self.name!r} around {inside.name!r}, {self.senseless[inside.name]}"
                raise ConfigError(given, "", "see docs/mitigation.md for the order of executors")

    def demand(self, lines: int) -> Demand:
        return self.inner.demand(lines)

    def calibration_demand(self) -> Demand:
        return self.inner.calibration_demand()

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


def chain(executor: Executor) -> list[Executor]:
    """The executor and those inside of it, from the outermost to the one that runs the circuits."""
    found = [executor]
    while isinstance(found[-1], Wrapper):
        found.append(found[-1].inner)
    return found


def together(
    found: Sequence[Outcome],
    probabilities: Float64[np.ndarray, "b n"],
    counts: Int64[np.ndarray, "b n"] | None = None,
    *,
    column: Column,
    bias: float = 0.0,
) -> Outcome:
    """What was computed from several outcomes, with what all of them cost."""
    return Outcome(
        probabilities,
        counts,
        sum(outcome.circuits for outcome in found),
        sum(outcome.shots for outcome in found),
        column,
        sum((outcome.device_seconds for outcome in found), 0.0),
        bias,
    )
