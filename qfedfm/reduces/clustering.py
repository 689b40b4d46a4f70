"""Clusters of clients from how alike their updates are: the largest alone, or a model for each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from pydantic import Field

from qfedfm.core.cohort import ClientId, Cohort, Personal, Reduced, State
from qfedfm.core.parts import ServerAt
from qfedfm.reduces._columns import combine
from qfedfm.reduces.cost import Cost
from qfedfm.reduces.similarity import Similarities, SimilarityReduce, diagnostics, median_similarity, named


@dataclass(frozen=True)
class SimilarityCluster(SimilarityReduce):
    """Clusters of clients whose updates are alike: one model of the largest cluster, or a model for each.

    With ``models = "largest"`` r_k = 1 for the clients of the largest of the round's `clusters`, and 0 for the others:
    against hostile clients. The largest by the number of clients; of equally large ones that whose members are most
    alike, then that with the smallest id.

    With ``models = "each"`` the model is personal: after ``warm`` rounds with one model for all, the clients of a round
    are clustered once by their updates, and from then on each cluster has a model of its own, which starts from the
    common one and takes the weighted mean of its members' updates. A client that comes later trains the common model,
    which goes on with the mean of all updates, and joins the cluster whose present members its update is most like.
    As Briggs, Fan & Andras, IJCNN 2020, arXiv 2004.11791, but for clients that come later, which are not in the paper.

    Args:
        margin: how much more alike than orthogonal updates two clusters must be on average to be joined.
        longest: updates longer than this many median lengths are held to it.
        models: whether clusters get models of their own.
        warm: rounds before the clients are clustered.

    Raises:
        ConfigError: a field is out of range.
    """

    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    models: Literal["largest", "each"] = "largest"
    warm: Annotated[int, Field(ge=0)] = 1

    @property
    def personal(self) -> bool:
        return self.models == "each"

    def judge(self, found: Similarities) -> tuple[Float64[np.ndarray, " n"], dict[str, float]]:
        labels = clusters(found.values, found.unrelated + self.margin)
        chosen = _largest(found.values, labels).astype(np.float64)
        return chosen, named(median_similarity(found.values)) | {"clusters": float(labels.max() + 1)}

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        return self._for_each(cohort, state, at) if self.personal else super().reduce(cohort, state, at)

    def _for_each(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        """The mean of all updates, and that of each cluster's; updates are compared where somebody is to join one."""
        weights = self.held(cohort, cohort.shares)
        known = dict(zip(state.get("clients", _NOBODY).tolist(), state.get("labels", _NOBODY).tolist(), strict=True))
        labels = {client: known[client] for client in sorted(cohort.clients) if client in known}
        counted = diagnostics(Cost(), weights)
        if at.round > self.warm and len(labels) < cohort.n and cohort.n > 1:
            found = self.compare(cohort, at)
            labels = self._joined(sorted(cohort.clients), labels, found) if known else self._formed(cohort, found)
            counted = diagnostics(found.cost, weights) | named(median_similarity(found.values))
        reduced, everyone = Reduced(combine(weights, cohort.X), weights, diagnostics=counted), {**known, **labels}
        if not everyone:
            return reduced, state
        own = {label: [labels.get(client) == label for client in cohort.clients] for label in set(labels.values())}
        vectors = {label: _mean(cohort, np.array(members), weights) for label, members in sorted(own.items())}
        counted = {**counted, "clusters": float(len(set(everyone.values())))}
        after = {"clients": np.array(list(everyone), np.int64), "labels": np.array(list(everyone.values()), np.int64)}
        return replace(reduced, personal=Personal(labels, vectors), diagnostics=counted), after

    def _formed(self, cohort: Cohort, found: Similarities) -> dict[ClientId, int]:
        labels = clusters(found.values, found.unrelated + self.margin).tolist()
        return dict(zip(sorted(cohort.clients), labels, strict=True))

    def _joined(self, clients: list[ClientId], labels: dict[ClientId, int], found: Similarities) -> dict[ClientId, int]:
        """The known clusters, and those of the others; one that is like no present cluster keeps the common model."""
        joined, present = dict(labels), sorted(set(labels.values()))
        rows = {label: [clients.index(member) for member in labels if labels[member] == label] for label in present}
        for row, client in enumerate(clients):
            if client not in labels and present:
                alike = [float(found.values[row, rows[label]].mean()) for label in present]
                if max(alike) >= found.unrelated + self.margin:
                    joined[client] = present[int(np.argmax(alike))]
        return dict(sorted(joined.items()))


_NOBODY = np.empty(0, np.int64)


def _mean(
    cohort: Cohort, members: Bool[np.ndarray, " n"], weights: Float64[np.ndarray, " n"]
) -> Float32[np.ndarray, " d"]:
    """The weighted mean of some updates, with the weights that they have in the mean of all."""
    theirs = np.where(members, weights, 0.0)
    return combine(theirs / theirs.sum(), cohort.X)


def clusters(values: Float64[np.ndarray, "n n"], threshold: float) -> Int64[np.ndarray, " n"]:
    """A cluster for each client, numbered from 0 in the order of the clients.

    Agglomerative with average linkage (UPGMA): the two clusters with the largest mean similarity are joined as long as
    it is at least the threshold. The number of clusters follows from the threshold.

    Args:
        values: similarities, symmetric; in an order that does not depend on how updates arrive, as it decides ties.
        threshold: of the mean similarity between two clusters.

    Example:
        >>> clusters(np.array([[1, 0.9, 0.1], [0.9, 1, 0.1], [0.1, 0.1, 1]]), 0.25).tolist()
        [0, 0, 1]
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(values) == 1:
        return np.zeros(1, np.int64)
    # rounding may lift a similarity above 1, and a distance must not be negative
    distances = np.maximum(1.0 - values[np.triu_indices(len(values), 1)], 0.0)
    found = fcluster(linkage(distances, "average"), 1.0 - threshold, "distance")
    _, first, labels = np.unique(found, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[labels], np.int64)


def _largest(values: Float64[np.ndarray, "n n"], labels: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """The members of the largest cluster."""
    groups = [labels == label for label in range(int(labels.max()) + 1)]
    ranked = [(int(group.sum()), round(float(values[np.ix_(group, group)].mean()), 9)) for group in groups]
    return np.asarray(groups[ranked.index(max(ranked))])
