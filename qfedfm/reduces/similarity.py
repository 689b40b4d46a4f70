"""Client weights from how alike the updates are: what the fidelity aggregators and their cosine twins share."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import Cohort, Reduced, State
from qfedfm.core.parts import Law, Reduce, ServerAt
from qfedfm.reduces._columns import combine
from qfedfm.reduces.client_weights import norms
from qfedfm.reduces.cost import Cost

_LEAST_SPREAD = 0.02
"""A spread of the similarities below this is that of shots and rounding, and makes nobody suspicious."""


@dataclass(frozen=True)
class Similarities:
    """Similarities of all pairs of updates, in ascending order of the client ids.

    Args:
        values: symmetric, 1 on the diagonal.
        unrelated: what orthogonal updates would have.
        cost: of measuring them.
    """

    values: Float64[np.ndarray, "n n"]
    unrelated: float
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class SimilarityReduce(Reduce):
    """Σ_k w_k Δ_k with w_k ∝ n_k r_k min(1, longest · median_j ‖Δ_j‖ / ‖Δ_k‖), r_k from the similarities.

    Similarities know nothing of lengths, so the last factor holds an update that is much longer than the others to
    that length, in weight. Where all r_k are 0 the sample shares take their place. A zero update, which has no
    direction, counts as orthogonal to all others.
    """

    laws = Reduce.laws | {Law.CONVEX}

    longest: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0

    def __post_init__(self) -> None:
        check_fields(self)

    @abc.abstractmethod
    def compare(self, cohort: Cohort, at: ServerAt) -> Similarities:
        """The similarities of at least two updates, in ascending order of the client ids."""

    @abc.abstractmethod
    def judge(self, found: Similarities) -> tuple[Float64[np.ndarray, " n"], dict[str, float]]:
        """The ratings r ≥ 0, and named numbers for the history."""

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        if cohort.n == 1:
            return Reduced(cohort.X[0].copy(), np.ones(1), diagnostics=diagnostics(Cost(), np.ones(1))), state
        found = self.compare(cohort, at)
        ratings, judged = self.judge(found)
        order = np.argsort(cohort.clients)
        weights = np.empty(cohort.n)
        weights[order] = ratings
        weights = self.held(cohort, weights * cohort.shares)
        return Reduced(
            combine(weights, cohort.X), weights, diagnostics=diagnostics(found.cost, weights) | judged
        ), state

    def held(self, cohort: Cohort, weights: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """The weights with long updates held to their length, summing to one; the sample shares where all are 0."""
        weights = weights * _length_factors(norms(cohort.X), self.longest)
        total = weights.sum()
        return np.asarray(weights / total) if total > 0 else cohort.shares


@dataclass(frozen=True)
class SimilarityWeights(SimilarityReduce):
    """r_k = relu(median_{j≠k} s_kj − s₀ − margin), s₀ the similarity of orthogonal updates.

    The median, because most of the others are honest: while fewer than half of the updates are hostile, neither their
    likeness among themselves (which lifts the mean of a row) nor their distance from an honest update decides. An
    update whose median similarity is that of orthogonal ones or less gets no weight: half of the clients went
    elsewhere. As the trust score of Cao et al. (FLTrust, NDSS 2021, arXiv 2012.13995), with the others in the place of
    the server's own update.

    Args:
        margin: how much more alike than orthogonal updates an update must be to count.
        longest: updates longer than this many median lengths are held to it.

    Raises:
        ConfigError: a field is out of range.
    """

    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def judge(self, found: Similarities) -> tuple[Float64[np.ndarray, " n"], dict[str, float]]:
        medians = median_similarity(found.values)
        return np.maximum(medians - found.unrelated - self.margin, 0.0), named(medians)


@dataclass(frozen=True)
class SimilarityOutlier(SimilarityReduce):
    """r_k = 1, or 0 for an outlier: `outlier_scores` of m_k = median_{j≠k} s_kj above the cutoff.

    The score of least median of squares (Rousseeuw & Leroy 1987) with their cutoff, on one side: nobody is dropped for
    being like the others.

    Args:
        cutoff: in robust standard deviations.
        longest: updates longer than this many median lengths are held to it.

    Raises:
        ConfigError: a field is out of range.
    """

    cutoff: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.5

    def judge(self, found: Similarities) -> tuple[Float64[np.ndarray, " n"], dict[str, float]]:
        medians = median_similarity(found.values)
        scores = outlier_scores(medians)
        return (scores <= self.cutoff).astype(np.float64), named(medians) | {"largest_score": float(scores.max())}


def median_similarity(values: Float64[np.ndarray, "n n"]) -> Float64[np.ndarray, " n"]:
    """The median of each row without its diagonal element: half of the others are at most so like this one."""
    n = len(values)
    others = values[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    return np.asarray(np.median(others, axis=1))


def outlier_scores(medians: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """By how many robust standard deviations each number lies below most of them.

    Centre and scale are those of least median of squares: the middle of the shortest interval that holds ⌊n/2⌋ + 1
    numbers, and 1.4826 (1 + 5/(n − 1)) times half its length. With 40 % of outliers on one side the centre stays where
    it was, which the median does not, and the scale doubles. It counts as at least 0.02, so that nearly equal numbers
    make no outlier. Rousseeuw, JASA 79, 871 (1984); the factors from Rousseeuw & Leroy 1987, chapter 5.

    Args:
        medians: at least two numbers.

    Example:
        >>> outlier_scores(np.array([0.3, 0.3, 0.3, 0.1])).round(1).tolist()
        [0.0, 0.0, 0.0, 10.0]
    """
    n, ordered = len(medians), np.sort(medians)
    half = n // 2 + 1
    widths = ordered[half - 1 :] - ordered[: n - half + 1]
    first = int(widths.argmin())
    scale = 1.4826 * (1 + 5 / (n - 1)) * widths[first] / 2
    return np.asarray(((ordered[first] + ordered[first + half - 1]) / 2 - medians) / max(float(scale), _LEAST_SPREAD))


def _length_factors(lengths: Float64[np.ndarray, " n"], longest: float) -> Float64[np.ndarray, " n"]:
    limit = longest * float(np.median(lengths))
    return np.asarray(limit / np.maximum(lengths, limit)) if limit > 0 else np.ones_like(lengths)


def named(medians: Float64[np.ndarray, " n"]) -> dict[str, float]:
    """The smallest and the largest median similarity, for the history."""
    return {"min_similarity": float(medians.min()), "max_similarity": float(medians.max())}


def diagnostics(cost: Cost, weights: Float64[np.ndarray, " n"]) -> dict[str, float]:
    """What every reduce of this family notes in the history."""
    kept = {"reduce_parameters": 0.0, "kept": float(np.count_nonzero(weights))}
    return cost.diagnostics() | kept
