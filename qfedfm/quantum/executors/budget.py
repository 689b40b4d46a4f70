"""A limit on what circuits may cost."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.errors import BudgetError, ConfigError
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.cloud.prices import VARIABLE, prices
from qfedfm.quantum.executor import Demand, Outcome
from qfedfm.quantum.wrapper import Wrapper

_lock = threading.Lock()


@dataclass(frozen=True)
class Spent:
    """What all runs under a budget cost so far in this process."""

    circuits: int = 0
    shots: int = 0
    device_seconds: float = 0.0
    price: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.circuits + other.circuits,
            self.shots + other.shots,
            self.device_seconds + other.device_seconds,
            self.price + other.price,
        )

    def __neg__(self) -> Spent:
        return Spent(-self.circuits, -self.shots, -self.device_seconds, -self.price)


_accounts: dict[Budget, Spent] = {}


@part("budget", paper="none: a limit, of 2025")
@final
@dataclass(frozen=True)
class Budget(Wrapper):
    """Refuses a run that would pass a limit before any of its circuits runs.

    Circuits and shots are those of the executors inside, further ones for mitigation included (`Executor.demand`).
    Their price in US dollars is that of the list of prices that ``qfedfm submit`` shows, each circuit a job of its own,
    which is dear where a service takes many circuits in one. Seconds are known only after a run, so that the last one
    may pass that limit; the next is refused.

    What a run was expected to take is booked before it, and what it did take after it. A run that failed on the way
    stays booked, since it may be charged; one that was refused for its settings does not. One account for each budget
    and process: methods and seeds of an experiment that name the same budget share it, and a resumed experiment begins
    anew.

    Args:
        inner: where the circuits run.
        circuits: the most circuits.
        shots: the most shots.
        device_seconds: the most seconds on a device.
        price: the most dollars.
        backend: whose prices count, such as ``ibm:ibm_torino``, as the list of prices names it.

    Raises:
        ConfigError: a limit below 0, one of price and backend without the other, or a backend without a price.
        BudgetError: (in `run`) a limit would be passed.
    """

    circuits: Annotated[int, Field(ge=0)] | None = None
    shots: Annotated[int, Field(ge=0)] | None = None
    device_seconds: Annotated[float, Field(ge=0)] | None = None
    price: Annotated[float, Field(ge=0)] | None = None
    backend: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.price is None) != (not self.backend):
            raise ConfigError("executor 'budget': one of price and backend", "both", "a price is that of a backend")
        self._dollars(0, 0)

    @property
    def spent(self) -> Spent:
        """The account."""
        return _accounts.get(self, Spent())

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        return self._within(self.inner.demand(len(parameters)), lambda: self.inner.run(circuit, parameters, key))

    def calibration(self, circuit: Circuit, key: Key) -> Outcome:
        return self._within(self.inner.calibration_demand(), lambda: self.inner.calibration(circuit, key))

    def _dollars(self, circuits: int, shots: int) -> float:
        if self.price is None:
            return 0.0
        found = prices().find(self.backend)
        if found is None:
            given = f"executor 'budget': no price of {self.backend!r}"
            raise ConfigError(given, "", f"write one into a file and name it in {VARIABLE}")
        return circuits * found.of(math.ceil(shots / circuits)) if circuits else 0.0

    def _within(self, demand: Demand, work: Callable[[], Outcome]) -> Outcome:
        asked = Spent(demand.circuits, demand.shots, 0.0, self._dollars(demand.circuits, demand.shots))
        with _lock:
            self._check(asked)
            self._book(asked)
        try:
            outcome = work()
        except ConfigError:
            self._correct(-asked)
            raise
        dollars = self._dollars(outcome.circuits, outcome.shots)
        self._correct(-asked + Spent(outcome.circuits, outcome.shots, outcome.device_seconds, dollars))
        return outcome

    def _correct(self, change: Spent) -> None:
        with _lock:
            self._book(change)

    def _book(self, change: Spent) -> None:
        _accounts[self] = self.spent + change

    def _check(self, asked: Spent) -> None:
        spent = self.spent
        for name in ("circuits", "shots", "price", "device_seconds"):
            limit, now, more = getattr(self, name), getattr(spent, name), getattr(asked, name)
            if limit is not None and (now + more > limit or (name == "device_seconds" and now >= limit)):
                what = f"{limit} {name.replace('_', ' ')}" if name != "price" else f"{limit} dollars"
                asks = f" and {round(more, 4)} asked for" if more else ""
                raise BudgetError(f"a budget of {what}, of which {round(now, 4)} are spent{asks}", "", f"raise {name}")
