"""The classical twin of the fidelity aggregator: the same number from the cosine, exactly and without a circuit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from qfedfm.core.cohort import Cohort
from qfedfm.core.pairs import inner_products
from qfedfm.core.parts import ServerAt
from qfedfm.core.registry import part
from qfedfm.reduces.similarity import Similarities, SimilarityReduce, SimilarityWeights


@dataclass(frozen=True)
class ExactCosine(SimilarityReduce):
    """s_ij = ((1 + cos_ij)/2)² with the cosines between the whole updates; not sketched, no circuit, no shots."""

    def compare(self, cohort: Cohort, at: ServerAt) -> Similarities:
        order = np.argsort(cohort.clients)
        G = inner_products(cohort.X, cohort.clients)[np.ix_(order, order)]
        lengths = np.sqrt(np.diagonal(G))
        directed = lengths > 0
        scale = np.where(directed, lengths, 1.0)
        cosines = np.clip(G / scale / scale[:, None], -1.0, 1.0)
        cosines[~(directed & directed[:, None])] = 0.0
        np.fill_diagonal(cosines, 1.0)
        return Similarities(((1 + cosines) / 2) ** 2, 0.25)


@part("cosine", paper="Cao et al., NDSS 2021, arXiv 2012.13995 (FLTrust), with the other clients in the server's place")
@final
@dataclass(frozen=True)
class Cosine(ExactCosine, SimilarityWeights):
    """`SimilarityWeights` of ((1 + cos)/2)², computed by `ExactCosine`: the twin of `fidelity`."""
