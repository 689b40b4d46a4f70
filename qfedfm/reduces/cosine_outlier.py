"""The weighted mean without the outliers by cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from qfedfm.core.registry import part
from qfedfm.reduces.cosine import ExactCosine
from qfedfm.reduces.similarity import SimilarityOutlier


@part("cosine-outlier", paper="Rousseeuw, JASA 79, 871 (1984) (the score)")
@final
@dataclass(frozen=True)
class CosineOutlier(ExactCosine, SimilarityOutlier):
    """`SimilarityOutlier` of ((1 + cos)/2)², computed by `ExactCosine`: the twin of `fidelity-outlier`."""
