"""Features of low rank, and the way of their gradient back through the compression.

The features of a batch are a matrix X (rows × features of a row) with the singular value decomposition
X = Σ_i σ_i u_i v_iᵀ. What travels is X̂ = U Uᵀ X = Σ_{i≤k} σ_i u_i v_iᵀ, as U (n × k) and B = ΣVᵀ (k × m). The server's
loss L has the gradient G at X̂. The mediator needs one at X:

| correction | gradient at X | what travels back |
|---|---|---|
| ``none`` | G, as if X̂ were X | G |
| ``projected`` | U Uᵀ G, the gradient of X ↦ L(U Uᵀ X) for a constant U | UᵀG |
| ``tangent`` | U Uᵀ G + G V Vᵀ − U Uᵀ G V Vᵀ, G without what would leave the matrices of rank k | UᵀG, GV |
| ``exact`` | the gradient of X ↦ L(X̂(X)): ``tangent`` and what the discarded singular values add | UᵀG, GV |

With A_ij = u_iᵀ G v_j for i ≤ k < j, the addition is

    Σ_{i≤k<j} (u_i [σ_j² A_ij + σ_i σ_j A_ji] v_jᵀ + u_j [σ_j² A_ji + σ_i σ_j A_ij] v_iᵀ) / (σ_i² − σ_j²),

the derivative of the truncation, which is its own adjoint (see docs/h-fl.md). It vanishes where nothing is discarded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from qfedfm.split.config import Correction

GAP = 1e-3
"""σ_i² − σ_j² is taken as at least this share of σ_i²: where both are equal, X̂ jumps and has no gradient."""


@dataclass(frozen=True)
class Factors:
    """X̂ = left · right, as it travels.

    Args:
        left: U, orthonormal columns.
        right: B = ΣVᵀ, orthogonal rows.
    """

    left: Float32[np.ndarray, "n k"]
    right: Float32[np.ndarray, "k m"]

    @property
    def rank(self) -> int:
        """K."""
        return len(self.right)

    @property
    def product(self) -> Float32[np.ndarray, "n m"]:
        """X̂; infinite where it is beyond float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(self.left @ self.right, np.float32)

    @property
    def directions(self) -> Float64[np.ndarray, "m k"]:
        """V: the rows of B at length one; a row of zeros stays one."""
        right = self.right.astype(np.float64)
        lengths = np.linalg.norm(right, axis=1, keepdims=True)
        return np.asarray((right / np.where(lengths > 0, lengths, 1.0)).T)


@dataclass(frozen=True)
class Answer:
    """What comes back of the gradient G at X̂.

    Args:
        left: UᵀG.
        right: GV, or None where only the projection is wanted.
    """

    left: Float32[np.ndarray, "k m"]
    right: Float32[np.ndarray, "n k"] | None


@dataclass(frozen=True)
class Spectrum:
    """The thin singular value decomposition of a mediator's batch, descending; it stays with the mediator."""

    u: Float64[np.ndarray, "n r"]
    s: Float64[np.ndarray, " r"]
    v: Float64[np.ndarray, "m r"]

    @classmethod
    def of(cls, x: Float[np.ndarray, "n m"]) -> Spectrum:
        """Of a matrix of finite numbers."""
        u, s, vt = np.linalg.svd(x.astype(np.float64), full_matrices=False)
        return cls(u, s, vt.T)

    def truncated(self, rank: int) -> Factors:
        """The best approximation of this rank (Eckart & Young, 1936)."""
        right = self.s[:rank, None] * self.v[:, :rank].T
        return Factors(self.u[:, :rank].astype(np.float32), right.astype(np.float32))

    def lost(self, rank: int) -> float:
        """‖X − X̂‖ / ‖X‖ in Frobenius norm; 0 for X = 0."""
        total = float(np.linalg.norm(self.s))
        return float(np.linalg.norm(self.s[rank:])) / total if total else 0.0


def answer(factors: Factors, gradient: Float32[np.ndarray, "n m"], correction: Correction) -> Answer:
    """The server's half: the parts of G that the mediator needs for a correction other than ``none``."""
    g = gradient.astype(np.float64)
    left = (factors.left.T.astype(np.float64) @ g).astype(np.float32)
    return Answer(left, None if correction == "projected" else (g @ factors.directions).astype(np.float32))


def corrected(spectrum: Spectrum, reply: Answer, correction: Correction) -> Float32[np.ndarray, "n m"]:
    """The mediator's half: the gradient at X; see the module's table."""
    rank = len(reply.left)
    u, v = spectrum.u[:, :rank], spectrum.v[:, :rank]
    left = reply.left.astype(np.float64)
    if reply.right is None:
        return np.asarray(u @ left, np.float32)
    right = reply.right.astype(np.float64)
    gradient = u @ left + (right - u @ (u.T @ right)) @ v.T
    if correction == "exact":
        gradient += _turning(spectrum, left, right)
    return np.asarray(gradient, np.float32)


def _turning(
    spectrum: Spectrum, left: Float64[np.ndarray, "k m"], right: Float64[np.ndarray, "n k"]
) -> Float64[np.ndarray, "n m"]:
    """What the discarded singular values add, because they turn the kept directions as X changes."""
    rank = len(left)
    u, v, kept = spectrum.u[:, :rank], spectrum.v[:, :rank], spectrum.s[:rank, None]
    u_rest, v_rest, rest = spectrum.u[:, rank:], spectrum.v[:, rank:], spectrum.s[None, rank:]
    upper, lower = left @ v_rest, (u_rest.T @ right).T
    gap = np.maximum(kept**2 - rest**2, GAP * kept**2)
    own, other = (_shares(part, gap) for part in (np.broadcast_to(rest**2, gap.shape), kept * rest))
    first, second = own * upper + other * lower, own * lower + other * upper
    return np.asarray(u @ first @ v_rest.T + u_rest @ second.T @ v.T)


def _shares(part: Float64[np.ndarray, "k l"], gap: Float64[np.ndarray, "k l"]) -> Float64[np.ndarray, "k l"]:
    return np.asarray(np.divide(part, gap, out=np.zeros_like(gap), where=gap > 0))
