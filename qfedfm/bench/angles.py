"""The circuits that simulators are timed on: layers of RY and RZ on every qubit, then a chain of CNOTs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from qfedfm.bench.vectors import digest, timed
from qfedfm.core.key import Key

LAYERS = 4
Point = tuple[Float64[np.ndarray, "b layers n 2"], Float64[np.ndarray, "b states"]]
"""Angles of RY and RZ for each line, layer and qubit, and the vector that is multiplied with the Jacobian."""
Simulator = Callable[[Point], np.ndarray]


def point(qubits: int, batch: int) -> Point:
    """Angles between −π and π and a Gaussian vector, of which a smaller batch has the first lines."""
    rng = [Key.of(7).fold("angles", qubits, line).numpy() for line in range(batch)]
    angles = np.array([one.uniform(-np.pi, np.pi, (LAYERS, qubits, 2)) for one in rng])
    return angles, np.array([one.normal(size=2**qubits) for one in rng])


def measured(sizes: Sequence[tuple[int, int]], least: float, make: Callable[[int], tuple[Simulator, Simulator]]) -> Any:
    """Times both functions of a simulator at every size.

    Args:
        sizes: qubits and lines.
        least: as of `qfedfm.bench.vectors.timed`.
        make: qubits ↦ the probabilities, and their vector–Jacobian product, of a point.

    Returns:
        Seconds of each and digests of each: of the first line, and of all.
    """
    found = []
    for qubits, lines in sizes:
        given = point(qubits, lines)
        entry: dict[str, Any] = {"qubits": qubits, "lines": lines}
        for what, work in zip(("value", "gradient"), make(qubits), strict=True):
            seconds, result = timed(work, lambda given=given: given, least)  # type: ignore[misc]
            entry[what] = {
                "seconds": seconds,
                "first": digest(result[0].reshape(-1)),
                "all": digest(result.reshape(-1)),
            }
        found.append(entry)
    return found
