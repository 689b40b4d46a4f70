"""Outcome probabilities of a circuit together with the way back: by the adjoint, by parameter shifts, or by SPSA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from qfedfm.core.key import Key
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Executor, Outcome

Pullback = Callable[[np.ndarray], np.ndarray]
"""v ↦ Jᵀv: from a gradient in the 2ⁿ probabilities to one in the P parameters."""


@dataclass(frozen=True)
class Evaluation:
    """Probabilities at one point, or at each of a batch, their pullback, and what they cost.

    Args:
        probabilities: p(θ), 2ⁿ of them for each point.
        pullback: v ↦ Σ_k v_k ∂p_k/∂θ.
        outcome: of all circuits that both needed, with what they cost.
    """

    probabilities: Float64[np.ndarray, "*b n"]
    pullback: Pullback
    outcome: Outcome


def exact(circuit: Circuit, theta: Float64[np.ndarray, "*b p"]) -> Evaluation:
    """p(θ) and its exact vector–Jacobian product, by the adjoint of the statevector; a batch of θ in one run.

    Each θ is counted as one circuit: what one simulation costs, not what a device would need.
    """
    points = theta.reshape(-1, theta.shape[-1])
    probabilities, pullback = circuit.program.evaluate(points)
    outcome = Outcome(np.asarray(probabilities), None, len(points), 0)

    def back(v: Float64[np.ndarray, "*b n"]) -> Float64[np.ndarray, "*b p"]:
        return np.asarray(pullback(v.reshape(probabilities.shape))).reshape(theta.shape)

    return Evaluation(outcome.probabilities.reshape(*theta.shape[:-1], -1), back, outcome)


def parameter_shift(circuit: Circuit, theta: Float64[np.ndarray, "*b p"], executor: Executor, key: Key) -> Evaluation:
    """p(θ) and ∂p/∂θ from one batch of 1 + 2G circuits for each θ, G the number of gates with a parameter.

    For a rotation exp(−iφP/2) about a Pauli operator, ∂p/∂φ = (p(φ + π/2) − p(φ − π/2)) / 2 exactly. Each *gate* is
    shifted by itself, so a parameter may occur in several gates; with angles φ = Wθ + b, ∂p/∂θ = Wᵀ ∂p/∂φ. The rule
    holds for probabilities and not for ratios of them: weights that are renormalised need the quotient rule on top.
    With N shots a circuit the gradient of ⟨v, p⟩ for an angle has the variance (Var₊v + Var₋v) / (4N).

    Mitarai et al., PRA 98, 032309 (2018), arXiv 1803.00745; Schuld et al., PRA 99, 032331 (2019), arXiv 1811.11184.
    Differs from the paper: the shifted circuits and the one at θ are one batch.
    """
    unrolled, points = circuit.unrolled, theta.reshape(-1, theta.shape[-1])
    angles = np.stack([unrolled.W @ point + unrolled.b for point in points])[:, None]
    shift = np.pi / 2 * np.eye(angles.shape[-1])
    shifted = np.concatenate((angles, angles + shift, angles - shift), axis=1)
    outcome = executor.run(unrolled.circuit, shifted.reshape(-1, shifted.shape[-1]), key)
    found = outcome.probabilities.reshape(*shifted.shape[:2], -1)
    here, plus, minus = np.split(found, (1, 1 + len(shift)), axis=1)
    jacobian = unrolled.W.T @ ((plus - minus) / 2)

    def back(v: Float64[np.ndarray, "*b n"]) -> Float64[np.ndarray, "*b p"]:
        return np.asarray(jacobian @ v.reshape(len(points), -1, 1)).reshape(theta.shape)

    return Evaluation(here.reshape(*theta.shape[:-1], -1), back, outcome)


def spsa(
    circuit: Circuit,
    theta: Float64[np.ndarray, "*b p"],
    executor: Executor,
    key: Key,
    repetitions: int = 1,
    step: float = 0.2,
) -> Evaluation:
    """p(θ) and an estimate of ∂p/∂θ from one batch of 1 + 2r circuits a point, however many parameters there are.

    Simultaneous perturbation: ∂p/∂θ_i ≈ mean over r of (p(θ + cε) − p(θ − cε)) / (2c ε_i) with every ε_i = ±1 at
    random; for gates that `parameter_shift` refuses as well. The bias is O(c²), none for a quadratic p. With g the
    gradient of ⟨v, p⟩, the estimate of g_i has the variance Σ_{j≠i} g_j² / r from the directions, and N shots a circuit
    add (Var₊v + Var₋v) / (4 r c² N), 1/c² times that of a shift: for a device on which P is large.

    Spall, IEEE Trans. Autom. Control 37, 332 (1992).
    Differs from the paper: c stays the same, and p itself is measured as well.

    Args:
        circuit: with P parameters.
        theta: where; the points of a batch share the perturbations.
        executor: where it runs.
        key: of the perturbations and the shots.
        repetitions: r.
        step: c, in radians.
    """
    points = theta.reshape(-1, theta.shape[-1])
    signs = 1.0 - 2.0 * key.fold("perturbation").numpy().integers(0, 2, (repetitions, points.shape[1]))
    moved = np.concatenate((np.zeros_like(signs[:1]), step * signs, -step * signs))
    outcome = executor.run(circuit, (points[:, None] + moved).reshape(-1, points.shape[1]), key)
    found = outcome.probabilities.reshape(len(points), len(moved), -1)
    change = found[:, 1 : 1 + repetitions] - found[:, 1 + repetitions :]
    jacobian = signs.T @ change / (2 * step * repetitions)

    def back(v: Float64[np.ndarray, "*b n"]) -> Float64[np.ndarray, "*b p"]:
        return np.asarray(jacobian @ v.reshape(len(points), -1, 1)).reshape(theta.shape)

    return Evaluation(found[:, 0].reshape(*theta.shape[:-1], -1), back, outcome)
