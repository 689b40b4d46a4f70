"""What the weights of a round's clients are made of, and what a change of them is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from qfedfm.core.cohort import Cohort, State
from qfedfm.core.errors import StackError

_LIMIT = 10.0
"""Slopes are kept within this many robust standard deviations of their median."""
_LONGEST = 1e3
_TINY = 1e-12
"""Weights below this count as this in a logarithm."""


@dataclass(frozen=True)
class Problem:
    """One round: who is present, and what a weight is worth.

    Args:
        ranks: of the round's clients among the population, ascending; client of rank r owns outcome r.
        prior: their shares of the samples, the weights of the weighted mean.
    """

    ranks: Int64[np.ndarray, " n"]
    prior: Float64[np.ndarray, " n"]

    def weights(self, p: Float64[np.ndarray, "*b k"]) -> Float64[np.ndarray, "*b n"]:
        """w_k = n_k p_k / Σ_j n_j p_j over the clients of the round; the prior where none of them has probability."""
        mass = self.prior * np.maximum(p[..., self.ranks], 0.0)
        total = mass.sum(-1, keepdims=True)
        return np.where(total > 0, mass / np.where(total > 0, total, 1.0), self.prior)

    def gradient(
        self, p: Float64[np.ndarray, "*b k"], slope: Float64[np.ndarray, "*b n"]
    ) -> Float64[np.ndarray, "*b k"]:
        """The gradient in p of a function whose gradient in w is ``slope``.

        ∂w_j/∂p_k = n_k (δ_jk − w_j) / Σ_i n_i p_i by the quotient rule, so that the gradient is
        v_k = n_k (f'_k − ⟨w, f'⟩) / Σ_i n_i p_i for the clients of the round and 0 for the other outcomes.
        """
        total = (self.prior * p[..., self.ranks]).sum(-1, keepdims=True)
        steep = self.prior * (slope - np.vecdot(self.weights(p), slope)[..., None])
        v = np.zeros_like(p)
        v[..., self.ranks] = np.where(total > 0, steep / np.where(total > 0, total, 1.0), 0.0)
        return v

    def slope(
        self, w: Float64[np.ndarray, "*b n"], s: Float64[np.ndarray, "*b n"], trust: float
    ) -> Float64[np.ndarray, "*b n"]:
        """The gradient in w of ⟨w, s⟩ + trust · KL(w ‖ prior), up to a constant that changes no weight."""
        return np.asarray(s + trust * np.log(np.maximum(w, _TINY) / self.prior))

    def divergence(self, w: Float64[np.ndarray, "*b n"]) -> Float64[np.ndarray, "*b"]:
        """KL(w ‖ prior) = Σ_k w_k log(w_k / prior_k), in nats."""
        return np.asarray((w * np.log(np.maximum(w, _TINY) / self.prior)).sum(-1))


def problem_of(
    name: str, cohort: Cohort, state: State, keep: Bool[np.ndarray, " n"]
) -> tuple[Problem, Int64[np.ndarray, " m"]]:
    """The problem of the rows to keep, in ascending order of the client ids, and those rows in this order.

    In the order of the ids not even rounding depends on the order in which updates arrive.

    Raises:
        StackError: a client is not in the population that the state was made for.
    """
    population = state["population"]
    clients = np.array(cohort.clients, np.int64)
    order = np.argsort(clients)
    ranks = np.searchsorted(population, clients[order])
    known = population[np.minimum(ranks, len(population) - 1)] == clients[order]
    if not known.all():
        given = f"client {int(clients[order][~known][0])} in reduce {name!r}"
        raise StackError(given, f"one of the {len(population)} clients that it was bound to", "bind to all clients")
    rows = order[keep[order]]
    prior = cohort.shares[rows]
    return Problem(ranks[keep[order]], prior / prior.sum()), rows


def norms(X: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    """‖Δ_k‖ in float64, in which no square of a float32 number overflows."""
    return np.array([np.linalg.norm(row.astype(np.float64)) for row in X])


def plausible(X: Float32[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
    """Which updates are at most 10³ times as long as the median one.

    What is longer drowns the others at any weight that training can reach, so it gets none.

    Example:
        >>> plausible(np.array([[1.0], [-2.0], [1e30]], np.float32)).tolist()
        [True, True, False]
    """
    lengths = norms(X)
    median = np.median(lengths)
    return np.asarray((lengths <= _LONGEST * median) | (median == 0))


def slopes(gradient: Float32[np.ndarray, " d"], X: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    """s_k = ⟨∇L, Δ_k⟩ = ∂L/∂w_k, in float64, in which no product of two float32 numbers overflows."""
    g = gradient.astype(np.float64)
    return np.array([row.astype(np.float64) @ g for row in X])


def standardised(s: Float64[np.ndarray, "*b n"]) -> Float64[np.ndarray, "*b n"]:
    """(s − median s) / (1.4826 · median |s − median s|), kept within ±10.

    The scale of most of the values, whatever fewer than half of them are. Where more than half are equal, the standard
    deviation takes its place; where all are, the result is 0. Each of several lines has its own median and all have the
    largest scale among them, so that a line of small values stays small beside one of large values.

    Example:
        >>> standardised(np.array([-1.0, 0.0, 1.0, 1e30])).round(2).tolist()
        [-1.01, -0.34, 0.34, 10.0]
    """
    centred = s - np.median(s, axis=-1, keepdims=True)
    scale = 1.4826 * np.median(np.abs(centred), axis=-1).max() or centred.std(axis=-1).max()
    if scale == 0:
        return np.zeros_like(s)
    with np.errstate(over="ignore"):
        return np.asarray(np.clip(centred / scale, -_LIMIT, _LIMIT))
