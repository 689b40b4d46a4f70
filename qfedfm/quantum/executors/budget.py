"""A limit on what circuits may cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.errors import BudgetError
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Outcome
from qfedfm.quantum.wrapper import Wrapper

_lock = threading.Lock()


@dataclass(frozen=True)
class Spent:
    """What all runs under a budget cost so far in this process."""

    circuits: int = 0
    shots: int = 0
    device_seconds: float = 0.0


_accounts: dict[Budget, Spent] = {}


@part("budget", paper="none: a limit, of 2025")
@final
@dataclass(frozen=True)
class Budget(Wrapper):
    """Refuses to run when a limit is reached: before the circuits run where their number alone passes it.

    Shots and seconds are known only after a run, so that these limits stop the next one; the last run may pass them.
    One account for each budget and process: methods and seeds of an experiment that name the same budget share it, and
    a resumed experiment begins anew.

    Args:
        inner: where the circuits run.
        circuits: the most circuits.
        shots: the most shots.
        device_seconds: the most seconds on a device.

    Raises:
        ConfigError: a limit below 0.
        BudgetError: (in `run`) a limit is reached.
    """

    circuits: Annotated[int, Field(ge=0)] | None = None
    shots: Annotated[int, Field(ge=0)] | None = None
    device_seconds: Annotated[float, Field(ge=0)] | None = None

    @property
    def spent(self) -> Spent:
        """The account."""
        return _accounts.get(self, Spent())

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        self._ask(len(parameters))
        return self._charge(self.inner.run(circuit, parameters, key))

    def calibration(self, circuit: Circuit, key: Key) -> Outcome:
        self._ask(2)
        return self._charge(self.inner.calibration(circuit, key))

    def _ask(self, circuits: int) -> None:
        spent = self.spent
        for name, limit, needed in (
            ("circuits", self.circuits, spent.circuits + circuits),
            ("shots", self.shots, spent.shots + 1),
            ("device_seconds", self.device_seconds, spent.device_seconds),
        ):
            if limit is not None and (needed > limit or (name == "device_seconds" and needed >= limit)):
                given = f"a budget of {limit} {name.replace('_', ' ')}, of which {getattr(spent, name)} are spent"
                raise BudgetError(given, "", f"raise {name} or ask for less")

    def _charge(self, outcome: Outcome) -> Outcome:
        with _lock:
            spent = self.spent
            _accounts[self] = Spent(
                spent.circuits + outcome.circuits,
                spent.shots + outcome.shots,
                spent.device_seconds + outcome.device_seconds,
            )
        return outcome
