"""Metrics against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss

from qfedfm.core.errors import DataError
from qfedfm.core.key import Key
from qfedfm.tasks.metrics import classification


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 5))
@settings(deadline=None)
def test_against_scikit_learn(seed, n, classes):
    rng = Key.of(seed).numpy()
    outputs, labels = rng.normal(0, 3, (n, classes)).astype(np.float32), rng.integers(0, classes, n)
    found = classification(outputs, labels)
    predicted = outputs.argmax(1)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    odds = np.exp(outputs.astype(np.float64))
    shares = odds / odds.sum(1, keepdims=True)
    assert found["loss"] == pytest.approx(log_loss(labels, shares, labels=range(classes)), rel=1e-6)


def test_large_outputs_do_not_overflow():
    outputs = np.array([[1e4, -1e4], [1e4, -1e4]], np.float32)
    assert classification(outputs, np.array([0, 1]))["loss"] == pytest.approx(1e4)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="at least one"):
        classification(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
