"""Quadratic problems over bits, and the circuits that look for their best bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float64

from qfedfm.core.errors import ConfigError
from qfedfm.quantum.dicke import dicke_circuit

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter

Mixer = Literal["ring", "complete"]

_ENUMERABLE = 20
"""Bits over all of whose values a computer runs in about a second."""


@dataclass(frozen=True, eq=False)
class Ising:
    """offset + Σ_i h_i z_i + Σ_{i<j} J_ij z_i z_j over z_i = ±1; J is zero on and below its diagonal."""

    h: Float64[np.ndarray, " n"]
    J: Float64[np.ndarray, "n n"]
    offset: float


@dataclass(frozen=True, eq=False)
class Quadratic:
    """C(x) = xᵀQx + c over bits x ∈ {0, 1}ⁿ; the linear part is the diagonal of Q, since x_i² = x_i.

    Bits and outcomes: bit i of an outcome's number (bit 0 the least significant) is x_i.

    Args:
        Q: symmetric; an off-diagonal Q_ij counts twice in C where both bits are 1.
        constant: c.

    Raises:
        ConfigError: Q is not square, not symmetric, or not finite.
    """

    Q: Float64[np.ndarray, "n m"]
    constant: float = 0.0

    def __post_init__(self) -> None:
        square = self.Q.shape[0] == self.Q.shape[1] > 0
        if not (square and math.isfinite(self.constant) and np.isfinite(self.Q).all() and (self.Q == self.Q.T).all()):
            given = f"Q of shape {self.Q.shape}, c = {self.constant}"
            raise ConfigError(given, "a square symmetric matrix and finite numbers", "(Q + Qᵀ)/2 has the same values")

    @property
    def n(self) -> int:
        """The number of bits."""
        return len(self.Q)

    def value(self, x: Float64[np.ndarray, "*batch n"]) -> Float64[np.ndarray, "*batch"]:
        """C at one or several x."""
        return np.asarray(np.einsum("...i,ij,...j->...", x, self.Q, x) + self.constant)

    def values(self) -> Float64[np.ndarray, " k"]:
        """C of all 2ⁿ outcomes, in the order of their numbers.

        Raises:
            ConfigError: more than 20 bits.
        """
        _refuse_beyond(self.n)
        values = np.full(1, self.constant)
        for i in range(self.n):
            values = np.concatenate((values, values + self.Q[i, i] + _sums(2 * self.Q[i, :i])))
        return values

    @cached_property
    def ising(self) -> Ising:
        """The same function of z_i = 1 − 2 x_i, the eigenvalues of Z_i: h_i = −½ Σ_j Q_ij, J_ij = ½ Q_ij.

        offset = c + ½ Σ_i Q_ii + ½ Σ_{i<j} Q_ij.
        """
        J = np.triu(self.Q, 1) / 2
        return Ising(-self.Q.sum(axis=1) / 2, J, float(self.constant + np.trace(self.Q) / 2 + J.sum()))

    def penalised(self, size: int, weight: float | None = None) -> Quadratic:
        """C(x) + λ (Σ_i x_i − k)²: a minimisation over all x finds those with k ones where λ is large enough.

        Args:
            size: k.
            weight: λ; None for Σ_ij |Q_ij|, which no difference between two values of C exceeds, so that the best x
                with k ones is never beaten. A smaller one leaves more of the angles' effect to C itself.

        Raises:
            ConfigError: k is not between 0 and n, or λ is negative or not finite.
        """
        strength = float(np.abs(self.Q).sum()) if weight is None else weight
        if not 0 <= size <= self.n or not (strength >= 0 and math.isfinite(strength)):
            given = f"{size} of {self.n} with a penalty of {strength}"
            raise ConfigError(given, f"0 to {self.n} and a finite penalty of at least 0")
        ones = np.ones((self.n, self.n)) - 2 * size * np.eye(self.n)
        return Quadratic(self.Q + strength * ones, self.constant + strength * size**2)


def qaoa_circuit(problem: Quadratic, depth: int) -> QuantumCircuit:
    """∏_{l=p}^{1} e^{−iβ_l ΣX} e^{−iγ_l C} |+⟩^⊗n: the quantum approximate optimisation algorithm.

    Farhi, Goldstone & Gutmann, arXiv 1411.4028. e^{−iγC} is RZ(2γh_i) and RZZ(2γJ_ij) (`Ising`), up to a
    phase; e^{−iβX} is RX(2β). Parameters in Qiskit's order: ``beta[l]``, then ``gamma[l]`` (`qaoa_angles`). For a fixed
    number of ones take `Quadratic.penalised`, or `xy_qaoa_circuit`, which needs no penalty.

    Args:
        problem: C; whether it is minimised or maximised is the sign of γ.
        depth: p ≥ 1.

    Raises:
        ConfigError: the depth is below 1, or all values of the problem are equal, so that γ has no effect.

    Differs from the paper: bits are x = 1 where Z = −1. (PennyLane's γ has the other sign.)
    """
    from qiskit import QuantumCircuit

    beta, gamma = _schedule(problem, depth)
    circuit = QuantumCircuit(problem.n, name=f"qaoa-{problem.n}x{depth}")
    circuit.h(range(problem.n))
    for layer in range(depth):
        _phase(circuit, problem, gamma[layer])
        circuit.rx(2 * beta[layer], range(problem.n))
    return circuit


def xy_qaoa_circuit(problem: Quadratic, size: int, depth: int, mixer: Mixer = "ring") -> QuantumCircuit:
    """∏_l M(β_l) e^{−iγ_l C} |D(n, k)⟩, M(β) = ∏_{(i,j)} e^{−iβ(X_iX_j + Y_iY_j)/2}: all outcomes have k ones.

    Hadfield et al., Algorithms 12, 34 (2019); Wang et al., PRA 101, 012320 (2020), arXiv 1904.09314. The mixer acts on
    |01⟩ and |10⟩ of a pair as e^{−iβX} does on |0⟩ and |1⟩; a pair is RXX(β) RYY(β), exactly, since the two commute.
    Parameters: ``beta[l]``, then ``gamma[l]`` (`qaoa_angles`).

    Args:
        problem: C, of at least two bits.
        size: k, from 1 to n.
        depth: p ≥ 1.
        mixer: pairs of neighbours on a ring, even ones first, or all pairs, in rounds of pairs that share no qubit.

    Raises:
        ConfigError: the depth or the size is out of range, the mixer is unknown, all values of the problem are equal,
            so that γ has no effect, or there is one bit, so that β has none.

    Differs from the paper: the pairs of a mixer act one after the other (a product formula), which keeps the number of
    ones as the exponential of the sum does.
    """
    beta, gamma = _schedule(problem, depth)
    if problem.n < 2:
        raise ConfigError("a choice among one", "a problem of at least two bits")
    circuit = dicke_circuit(problem.n, size)
    circuit.name = f"xy-qaoa-{problem.n}-{size}x{depth}-{mixer}"
    pairs = _pairs(problem.n, mixer)
    for layer in range(depth):
        _phase(circuit, problem, gamma[layer])
        for pair in pairs:
            circuit.rxx(beta[layer], *pair)
            circuit.ryy(beta[layer], *pair)
    return circuit


def qaoa_angles(gamma: Float64[np.ndarray, "*batch p"], beta: Float64[np.ndarray, "*batch p"]) -> np.ndarray:
    """γ and β in the order of the circuits' parameters: β first."""
    return np.concatenate((beta, gamma), axis=-1)


def expectation(problem: Quadratic, probabilities: Float64[np.ndarray, " k"]) -> float:
    """⟨C⟩ = Σ_x p(x) C(x) over all 2ⁿ outcomes."""
    return float(probabilities @ problem.values())


@dataclass(frozen=True)
class Optimum:
    """The smallest and the largest value of a problem, and the outcome of the smallest (the first of several)."""

    outcome: int
    best: float
    worst: float


def brute_force(problem: Quadratic, size: int | None = None) -> Optimum:
    """Minimum and maximum over all x, or over those with ``size`` ones.

    Raises:
        ConfigError: more than 20 bits, or no x has that size.
    """
    values = np.where(_allowed(problem.n, size), problem.values(), np.nan)
    outcome = int(np.nanargmin(values))
    return Optimum(outcome, float(values[outcome]), float(np.nanmax(values)))


def approximation_ratio(problem: Quadratic, probabilities: Float64[np.ndarray, " k"], size: int | None = None) -> float:
    """Σ_x p(x) (C_worst − C(x)) / (C_worst − C_best) of a minimisation: 1 at the optimum, 0 at the worst.

    With a ``size``, best and worst are over the x of that many ones, and an outcome with another number of ones counts
    as the worst. Where all values are equal the ratio is the share of allowed outcomes. For a maximisation take −C.

    Raises:
        ConfigError: more than 20 bits, or no x has that size.
    """
    optimum, allowed = brute_force(problem, size), _allowed(problem.n, size)
    width = optimum.worst - optimum.best
    gain = (optimum.worst - problem.values()) / width if width > 0 else np.ones(len(allowed))
    return float(probabilities[allowed] @ gain[allowed])


def _refuse_beyond(n: int) -> None:
    if n > _ENUMERABLE:
        raise ConfigError(f"all 2^{n} values of a problem", f"at most {_ENUMERABLE} bits")


def _allowed(n: int, size: int | None) -> Bool[np.ndarray, " k"]:
    """Which of the 2ⁿ outcomes have ``size`` ones."""
    _refuse_beyond(n)
    if size is not None and not 0 <= size <= n:
        raise ConfigError(f"{size} of {n}", f"0 to {n}")
    return np.ones(2**n, bool) if size is None else _sums(np.ones(n)) == size


def _sums(a: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " k"]:
    """Σ_i a_i x_i for all 2ⁿ x."""
    sums = np.zeros(1)
    for value in a:
        sums = np.concatenate((sums, sums + value))
    return sums


def _schedule(problem: Quadratic, depth: int) -> tuple[list[Parameter], list[Parameter]]:
    from qiskit.circuit import ParameterVector

    if not (problem.ising.h.any() or problem.ising.J.any()):
        raise ConfigError("a problem whose values are all equal", "one with something to choose", "take any x")
    if depth < 1:
        raise ConfigError(f"depth {depth}", "at least 1")
    return list(ParameterVector("beta", depth)), list(ParameterVector("gamma", depth))


def _phase(circuit: QuantumCircuit, problem: Quadratic, gamma: Parameter) -> None:
    """e^{−iγC} without the phase of the offset; zeros of h and J need no gate."""
    h, J = problem.ising.h, problem.ising.J
    for i in np.flatnonzero(h).tolist():
        circuit.rz(2 * float(h[i]) * gamma, i)
    for i, j in np.argwhere(J).tolist():
        circuit.rzz(2 * float(J[i, j]) * gamma, i, j)


def _pairs(n: int, mixer: Mixer) -> list[tuple[int, int]]:
    if mixer == "complete":
        return sorted(combinations(range(n), 2), key=lambda pair: sum(pair) % n)
    if mixer != "ring":
        raise ConfigError(f"mixer {mixer!r}", "ring or complete")
    line = [(i, i + 1) for i in range(n - 1)]
    return line[0::2] + line[1::2] + ([(0, n - 1)] if n > 2 else [])
