"""Counts in the library's order, and outcomes made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from qfedfm.core.errors import ConfigError, DeviceError
from qfedfm.core.key import Key
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Column, Outcome

_EMPTY = "run a circuit with an X gate alone: some services answer so when they do not read the circuit's measurements"


def require_parameters(circuit: Circuit, parameters: Float64[np.ndarray, "b p"]) -> None:
    """Refuses lines that are longer or shorter than the circuit's parameters.

    Raises:
        ConfigError: they are, or there is no line.
    """
    if parameters.shape[1] != circuit.parameters:
        raise ConfigError(f"{parameters.shape[1]} parameters", f"the circuit's {circuit.parameters}")
    if not len(parameters):
        raise ConfigError("no line of parameters", "at least one")


def table(lines: Sequence[Mapping[str, int]], qubits: int) -> Int64[np.ndarray, "b n"]:
    """Counts by bit string (qubit 0 is the last character, as in Qiskit) or hexadecimal number as a table.

    Example:
        >>> table([{"01": 3, "10": 1}, {"0x3": 4}], 2).tolist()
        [[0, 3, 1, 0], [0, 0, 0, 4]]
    """
    counts = np.zeros((len(lines), 2**qubits), np.int64)
    for row, line in zip(counts, lines, strict=True):
        for outcome, count in line.items():
            row[int(outcome, 16 if outcome.startswith("0x") else 2)] += int(count)
    return counts


def frequencies(counts: Int64[np.ndarray, "b n"], column: Column, device_seconds: float = 0.0) -> Outcome:
    """The outcome of counts: each line divided by its shots.

    Raises:
        DeviceError: a circuit has no counts at all.
    """
    shots = counts.sum(axis=1, keepdims=True)
    if not shots.all():
        raise DeviceError(f"no counts at all for {int((shots == 0).sum())} of {len(counts)} circuits", "", _EMPTY)
    return Outcome(counts / shots, counts, len(counts), int(shots.sum()), column, device_seconds)


def draw(probabilities: Float64[np.ndarray, "b n"], shots: int, key: Key, column: Column) -> Outcome:
    """Multinomial draws of ``shots`` outcomes from each line, decided by the key."""
    # multinomial refuses sums that rounding has lifted above one, and numbers below zero
    positive = np.clip(probabilities, 0, None)
    return frequencies(key.numpy().multinomial(shots, positive / positive.sum(axis=1, keepdims=True)), column)
