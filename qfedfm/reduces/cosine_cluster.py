"""The weighted mean of the largest cluster by cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from qfedfm.core.registry import part
from qfedfm.reduces.clustering import SimilarityCluster
from qfedfm.reduces.cosine import ExactCosine


@part(
    "cosine-cluster", paper="Sattler, Müller & Samek, IEEE TNNLS 2021, arXiv 1910.01991 (clusters of clients by cosine)"
)
@final
@dataclass(frozen=True)
class CosineCluster(ExactCosine, SimilarityCluster):
    """`SimilarityCluster` of ((1 + cos)/2)², computed by `ExactCosine`: the twin of `fidelity-cluster`."""
