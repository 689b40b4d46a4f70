"""What a classifier's outputs are worth."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

from qfedfm.core.errors import DataError


def cross_entropy(outputs: Float[np.ndarray, "n classes"], labels: Int64[np.ndarray, " n"]) -> float:
    """Mean of −log softmax(outputs)[label], in nats.

    Example:
        >>> round(cross_entropy(np.zeros((1, 4), np.float32), np.array([2])), 4)  # log 4
        1.3863
    """
    logits = outputs.astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]))


def macro_f1(predicted: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " n"]) -> float:
    """Mean over classes of F₁ = 2·TP/(2·TP + FP + FN), over the classes that occur in labels or predictions.

    Example:
        >>> macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])).__round__(4)  # (2/3 + 4/5) / 2
        0.7333
    """
    scores = []
    for label in np.union1d(predicted, labels):
        hit = int(np.sum((predicted == label) & (labels == label)))
        scores.append(2 * hit / int(np.sum(predicted == label) + np.sum(labels == label)))
    return float(np.mean(scores))


def classification(outputs: Float[np.ndarray, "n classes"], labels: Int64[np.ndarray, " n"]) -> dict[str, float]:
    """``accuracy``, ``macro_f1`` and ``loss`` (cross entropy); a tie goes to the lower class.

    Raises:
        DataError: there is no row, or not one label a row.
    """
    if len(labels) == 0 or len(outputs) != len(labels):
        raise DataError(f"{len(outputs)} outputs for {len(labels)} labels", "one output a label, at least one")
    predicted = outputs.argmax(axis=1).astype(np.int64)
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "macro_f1": macro_f1(predicted, labels),
        "loss": cross_entropy(outputs, labels),
    }
