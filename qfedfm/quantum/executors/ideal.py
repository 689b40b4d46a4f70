"""The ideal circuit: its exact probabilities, or shots drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Executor, Outcome


@part("exact", paper="Jones & Gacon, arXiv 2009.02823 (2020) (the engine)")
@final
@dataclass(frozen=True)
class Exact(Executor):
    """|⟨k|U(θ)|0⟩|² of the ideal circuit, from its statevector."""

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        probabilities = np.asarray(circuit.program.values(parameters))
        return Outcome(probabilities, None, len(parameters), 0)


@part("shots", paper="multinomial draws from the exact probabilities; Born, Z. Phys. 37, 863 (1926)")
@final
@dataclass(frozen=True)
class Shots(Executor):
    """Counts of the ideal circuit: multinomial draws of ``shots`` outcomes a circuit.

    Args:
        shots: of each circuit.

    Raises:
        ConfigError: fewer than one.
    """

    shots: Annotated[int, Field(ge=1)]

    def __post_init__(self) -> None:
        check_fields(self)

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        ideal = Exact().run(circuit, parameters, key).probabilities
        # multinomial refuses sums that rounding has lifted above one
        ideal = ideal / ideal.sum(axis=1, keepdims=True)
        counts = key.numpy().multinomial(self.shots, ideal)
        return Outcome(counts / self.shots, counts, len(parameters), self.shots * len(parameters), "shots")
