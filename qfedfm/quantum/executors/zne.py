"""Zero-noise extrapolation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Demand, Outcome
from qfedfm.quantum.extra import cloud
from qfedfm.quantum.projection import onto_simplex
from qfedfm.quantum.wrapper import Wrapper, together

Extrapolation = Literal["linear", "richardson", "exponential"]
_LINEAR = {"linear": "LinearFactory", "richardson": "RichardsonFactory"}
"""Mitiq's name of each extrapolation that is linear in what was measured."""


@part(
    "zne",
    paper="Temme, Bravyi & Gambetta, PRL 119, 180509 (2017), arXiv 1612.02058; LaRose et al., Quantum 6, 774 (2022)",
)
@final
@dataclass(frozen=True)
class Zne(Wrapper):
    """Each outcome's probability, measured with the noise scaled by λ_1 … λ_m, extrapolated to λ = 0.

    The noise is scaled by global folding: U becomes U (U†U)^((λ−1)/2), the same circuit with λ times as many gates; a
    barrier between the parts keeps a transpiler from cancelling them, and all run on the same qubits. The
    extrapolations are mitiq's: ``linear``, the straight line of least squares; ``richardson``, the polynomial through
    all points, which multiplies the standard deviation by √Σc_j² (2.3 for 1, 3, 5); ``exponential``, 2⁻ⁿ + b e^(−cλ),
    what depolarising noise does, fitted to each outcome by itself, kept within 0 and 1, and slower than the other two.
    The extrapolated numbers may be negative or not sum to 1: they are projected onto the simplex, and the outcome tells
    by how much that moved them, with what projections inside may add, Σ|c_j| bias_j (for ``exponential``, the c_j of
    ``linear``).

    Readout errors are not scaled, so that they must be corrected inside: ``zne`` around ``readout``.

    Args:
        inner: an executor with noise.
        factors: λ, odd and different.
        extrapolation: the model.

    Raises:
        ConfigError: fewer than two factors, or one that is even; an executor inside is exact.
        MissingExtraError: (in `run`) mitiq is not installed.

    Differs from the papers: whole distributions, not single expectations; parameters stay free, so that mitiq's own
    folding, which needs numbers, is not used.
    """

    senseless: ClassVar[dict[str, str]] = {
        "exact": "which has no noise to extrapolate from",
        "zne": "which has extrapolated already",
    }

    factors: tuple[Annotated[int, Field(ge=1)], ...] = (1, 3, 5)
    extrapolation: Extrapolation = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({*self.factors}) < max(2, len(self.factors)) or not all(factor % 2 for factor in self.factors):
            raise ConfigError(f"executor 'zne': factors = {self.factors}", "at least two different odd numbers")

    def demand(self, lines: int) -> Demand:
        return self.inner.demand(lines).times(len(self.factors))

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        found: list[Outcome] = []
        for factor in self.factors:
            found.append(self.inner.run(folded(circuit, factor), parameters, key.fold("noise", factor)))
            if found[-1].column == "exact":
                given = f"executor 'zne' around {self.inner.name!r}, which is exact"
                raise ConfigError(given, "an executor with noise")
        measured = np.array([outcome.probabilities for outcome in found])
        if self.extrapolation == "exponential":
            extrapolated = exponential(self.factors, measured)
        else:
            extrapolated = np.tensordot(coefficients(self.factors, self.extrapolation), measured, 1)
        probabilities, bias = onto_simplex(extrapolated)
        model = "linear" if self.extrapolation == "exponential" else self.extrapolation
        inside = float(np.abs(coefficients(self.factors, model)) @ [outcome.bias for outcome in found])
        return together(found, probabilities, column="mitigated", bias=bias + inside)


@lru_cache(maxsize=16)
def coefficients(factors: tuple[int, ...], extrapolation: Literal["linear", "richardson"]) -> Float64[np.ndarray, " m"]:
    """C with p_0 = Σ_j c_j p_{λ_j}, of an extrapolation that is linear in what was measured.

    Example:
        >>> coefficients((1, 3), "linear").round(12).tolist()
        [1.5, -0.5]
    """
    factory = getattr(cloud("mitiq.zne.inference"), _LINEAR[extrapolation])
    return np.array([float(factory.extrapolate(list(factors), line)) for line in np.eye(len(factors)).tolist()])


def exponential(factors: tuple[int, ...], measured: Float64[np.ndarray, "m b n"]) -> Float64[np.ndarray, "b n"]:
    """Each a + b of the a + b e^(−cλ) through an outcome's probabilities, a = 1/n where all is noise, within 0 and 1.

    Where the numbers lie on both sides of the limit, no exponential goes through them; mitiq then fits one to those on
    one side, and it may rise far above 1.
    """
    factory, (_, lines, outcomes) = cloud("mitiq.zne.inference").ExpFactory, measured.shape
    with np.errstate(over="ignore"):
        found = [
            factory.extrapolate(list(factors), list(values), 1 / outcomes)
            for values in measured.reshape(len(factors), -1).T
        ]
    return np.clip(np.array(found, np.float64).reshape(lines, outcomes), 0, 1)


def folded(circuit: Circuit, factor: int) -> Circuit:
    """U (U†U)^((λ−1)/2), made once for each circuit."""
    if factor == 1:
        return circuit
    if factor not in circuit.folds:
        once = circuit.qiskit
        whole = once.copy()
        for _ in range((factor - 1) // 2):
            for unitary in (once.inverse(), once):
                whole.barrier()
                whole.compose(unitary, inplace=True)
        circuit.folds[factor] = circuit.variant(whole)
    return circuit.folds[factor]
