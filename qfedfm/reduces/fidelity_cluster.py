"""The weighted mean of the largest cluster by fidelity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from qfedfm.core.registry import part
from qfedfm.reduces.clustering import SimilarityCluster
from qfedfm.reduces.fidelity import FidelityTest


@part(
    "fidelity-cluster",
    paper="Sattler, Müller & Samek, IEEE TNNLS 2021, arXiv 1910.01991 (clusters of clients by cosine)",
    quantum=True,
    twins=("cosine-cluster",),
)
@final
@dataclass(frozen=True)
class FidelityCluster(FidelityTest, SimilarityCluster):
    """`SimilarityCluster` of the fidelities that `FidelityTest` measures.

    Args:
        qubits: q; 2^q − 1 numbers stand for an update.
        test: ``inversion`` or ``swap``.
        shots: of each circuit; None for exact probabilities.
        margin: how much more than 1/4 the mean fidelity of two clusters must be for them to be joined.
        longest: updates longer than this many median lengths are held to it.
        models: ``largest`` or ``each``.
        warm: rounds before the clients are clustered, for a model for each cluster.

    Raises:
        ConfigError: a field is out of range.
    """
