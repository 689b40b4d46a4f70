"""A limit on what circuits may cost."""

from __future__ import annotations

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
from qfedfm.quantum.executor import Demand, Outcome
from qfedfm.quantum.wrapper import Wrapper

_lock = threading.Lock()


@dataclass(frozen=True)
class Spent:
    """What all runs under a budget cost so far in this process."""

    circuits: int = 0
    shots: int = 0
    device_seconds: float = 0.0

    def plus(self, circuits: int, shots: int, device_seconds: float = 0.0) -> Spent:
        """With so much more."""
        return Spent(self.circuits + circuits, self.shots + shots, self.device_seconds + device_seconds)


_accounts: dict[Budget, Spent] = {}


@part("budget", paper="none: a limit, of 2025")
@final
@dataclass(frozen=True)
class Budget(Wrapper):
    """Refuses a run that would pass a limit before any of its circuits runs.

    Circuits and shots are those of the executors inside, further ones for mitigation included (`Executor.demand`), and
    their price is known with them: price = ``a_circuit`` · circuits + ``a_shot`` · shots + ``a_second`` · seconds, in
    whatever money the rates are in. Seconds are known only after a run, so that the last one may pass that limit, and
    what they add to the price; the next is refused.

    What a run was expected to take is booked before it, and what it did take after it. A run that failed on the way
    stays booked, since it may be charged; one that was refused for its settings does not. One account for each budget
    and process: methods and seeds of an experiment that name the same budget share it, and a resumed experiment begins
    anew.

    Args:
        inner: where the circuits run.
        circuits: the most circuits.
        shots: the most shots.
        device_seconds: the most seconds on a device.
        price: the most money.
        a_circuit: the price of a circuit.
        a_shot: the price of a shot.
        a_second: the price of a second on a device.

    Raises:
        ConfigError: a limit below 0, a limit on the price without a rate, or a rate without that limit.
        BudgetError: (in `run`) a limit would be passed.
    """

    circuits: Annotated[int, Field(ge=0)] | None = None
    shots: Annotated[int, Field(ge=0)] | None = None
    device_seconds: Annotated[float, Field(ge=0)] | None = None
    price: Annotated[float, Field(ge=0)] | None = None
    a_circuit: Annotated[float, Field(ge=0)] = 0.0
    a_shot: Annotated[float, Field(ge=0)] = 0.0
    a_second: Annotated[float, Field(ge=0)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.price is None) != (self.a_circuit == self.a_shot == self.a_second == 0):
            given = f"executor 'budget': {'rates without a price' if self.price is None else 'a price without a rate'}"
            raise ConfigError(given, "price together with one of a_circuit, a_shot and a_second")

    @property
    def spent(self) -> Spent:
        """The account."""
        return _accounts.get(self, Spent())

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        return self._within(self.inner.demand(len(parameters)), lambda: self.inner.run(circuit, parameters, key))

    def calibration(self, circuit: Circuit, key: Key) -> Outcome:
        return self._within(self.inner.demand(2), lambda: self.inner.calibration(circuit, key))

    def cost(self, spent: Spent) -> float:
        """The price of what was spent."""
        return self.a_circuit * spent.circuits + self.a_shot * spent.shots + self.a_second * spent.device_seconds

    def _within(self, demand: Demand, work: Callable[[], Outcome]) -> Outcome:
        with _lock:
            self._check(self.spent, self.spent.plus(demand.circuits, demand.shots))
            self._book(demand.circuits, demand.shots)
        try:
            outcome = work()
        except ConfigError:
            with _lock:
                self._book(-demand.circuits, -demand.shots)
            raise
        with _lock:
            self._book(outcome.circuits - demand.circuits, outcome.shots - demand.shots, outcome.device_seconds)
        return outcome

    def _book(self, circuits: int, shots: int, device_seconds: float = 0.0) -> None:
        _accounts[self] = self.spent.plus(circuits, shots, device_seconds)

    def _check(self, now: Spent, then: Spent) -> None:
        for name, limit, spent, needed in (
            ("circuits", self.circuits, now.circuits, then.circuits),
            ("shots", self.shots, now.shots, then.shots),
            ("price", self.price, self.cost(now), self.cost(then)),
        ):
            if limit is not None and needed > limit:
                given = f"a budget of {limit} {name}, of which {spent} are spent and {needed - spent} are asked for"
                raise BudgetError(given, "", f"raise {name} or ask for less")
        if self.device_seconds is not None and now.device_seconds >= self.device_seconds:
            given = f"a budget of {self.device_seconds:g} device seconds, of which {now.device_seconds:g} are spent"
            raise BudgetError(given, "", "raise device_seconds or ask for less")
