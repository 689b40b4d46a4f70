"""Zero-noise extrapolation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal, final
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Outcome
from qfedfm.quantum.extra import cloud
from qfedfm.quantum.projection import onto_simplex
from qfedfm.quantum.wrapper import Wrapper

Extrapolation = Literal["linear", "richardson"]
_folded: WeakKeyDictionary[Circuit, dict[int, Circuit]] = WeakKeyDictionary()


@part(
    "zne",
    paper="Temme, Bravyi & Gambetta, PRL 119, 180509 (2017), arXiv 1612.02058; LaRose et al., Quantum 6, 774 (2022)",
)
@final
@dataclass(frozen=True)
class Zne(Wrapper):
    """Σ_j c_j p_{λ_j}: each outcome's probability, measured with the noise scaled by λ_1 … λ_m, extrapolated to λ = 0.

    The noise is scaled by global folding: U becomes U (U†U)^((λ−1)/2), the same circuit with λ times as many gates; a
    barrier between the parts keeps a transpiler from cancelling them. The c_j are mitiq's: those of the straight line
    of least squares (``linear``), or of the polynomial through all points (``richardson``), whose c_j grow and with
    them the variance. The extrapolated numbers may be negative: they are projected onto the simplex, and the outcome
    tells by how much that moved them.

    Args:
        inner: an executor with noise.
        factors: λ, odd and different.
        extrapolation: the model.

    Raises:
        ConfigError: fewer than two factors, or one that is even; (in `run`) the executor inside is exact.
        MissingExtraError: (in `run`) mitiq is not installed.

    Differs from the papers: whole distributions, not single expectations; parameters stay free, so that mitiq's own
    folding, which needs numbers, is not used.
    """

    factors: tuple[Annotated[int, Field(ge=1)], ...] = (1, 3, 5)
    extrapolation: Extrapolation = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({*self.factors}) < max(2, len(self.factors)) or not all(factor % 2 for factor in self.factors):
            raise ConfigError(f"executor 'zne': factors = {self.factors}", "at least two different odd numbers")

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        found = [self.inner.run(folded(circuit, f), parameters, key.fold("noise", f)) for f in self.factors]
        if found[0].column == "exact":
            raise ConfigError(f"executor 'zne' around {self.inner.name!r}, which is exact", "an executor with noise")
        stacked = np.array([outcome.probabilities for outcome in found])
        probabilities, bias = onto_simplex(np.tensordot(coefficients(self.factors, self.extrapolation), stacked, 1))
        return Outcome(
            probabilities,
            None,
            sum(outcome.circuits for outcome in found),
            sum(outcome.shots for outcome in found),
            "mitigated",
            sum(outcome.device_seconds for outcome in found),
            max(bias, *(outcome.bias for outcome in found)),
        )


@lru_cache(maxsize=16)
def coefficients(factors: tuple[int, ...], extrapolation: Extrapolation) -> Float64[np.ndarray, " m"]:
    """C with p_0 = Σ_j c_j p_{λ_j}; both extrapolations are linear in what was measured.

    Example:
        >>> coefficients((1, 3), "linear").round(12).tolist()
        [1.5, -0.5]
    """
    inference = cloud("mitiq.zne.inference")
    factory = inference.LinearFactory if extrapolation == "linear" else inference.RichardsonFactory
    return np.array([float(factory.extrapolate(list(factors), line)) for line in np.eye(len(factors)).tolist()])


def folded(circuit: Circuit, factor: int) -> Circuit:
    """U (U†U)^((λ−1)/2), made once for each circuit."""
    made = _folded.setdefault(circuit, {})
    if factor not in made:
        once = circuit.qiskit
        whole = once.copy()
        for _ in range((factor - 1) // 2):
            for unitary in (once.inverse(), once):
                whole.barrier()
                whole.compose(unitary, inplace=True)
        made[factor] = Circuit(whole) if factor > 1 else circuit
    return made[factor]
