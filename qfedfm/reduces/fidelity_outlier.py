"""The weighted mean without the outliers by fidelity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from qfedfm.core.registry import part
from qfedfm.reduces.fidelity import FidelityTest
from qfedfm.reduces.similarity import SimilarityOutlier


@part(
    "fidelity-outlier",
    paper="Rousseeuw, JASA 79, 871 (1984) (the score)",
    quantum=True,
    twins=("cosine-outlier",),
)
@final
@dataclass(frozen=True)
class FidelityOutlier(FidelityTest, SimilarityOutlier):
    """`SimilarityOutlier` of the fidelities that `FidelityTest` measures.

    Args:
        qubits: q; 2^q − 1 numbers stand for an update.
        test: ``inversion`` or ``swap``.
        shots: of each circuit; None for exact probabilities.
        cutoff: in robust standard deviations of the median fidelities.
        longest: updates longer than this many median lengths are held to it.

    Raises:
        ConfigError: a field is out of range.
    """
