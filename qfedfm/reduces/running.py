"""Where the circuits of a reduce run."""

from __future__ import annotations

from qfedfm.core.errors import ConfigError
from qfedfm.quantum.executor import Executor
from qfedfm.quantum.executors.ideal import Shots


def runner(name: str, shots: int | None, executor: Executor | None) -> Executor | None:
    """The executor of a reduce: its own, the ideal circuit with its shots, or None for exact probabilities.

    Raises:
        ConfigError: both are given.
    """
    if shots is not None and executor is not None:
        given = f"shots = {shots} beside the executor {executor.name!r} in reduce {name!r}"
        raise ConfigError(given, "one of the two", "give the shots to the executor")
    return executor if shots is None else Shots(shots)
