"""Cohorts for the tests of reduces and cohort layers."""

from collections.abc import Sequence

import numpy as np

from qfedfm.core.cohort import EMPTY, Cohort, Reduced
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import Reduce, ServerAt


def cohort_of(
    X: np.ndarray | Sequence[Sequence[float]],
    weights: Sequence[float] | None = None,
    clients: Sequence[int] | None = None,
) -> Cohort:
    """A cohort of these rows, with equal weights and ids 0, 1, … unless given."""
    X = np.ascontiguousarray(X, np.float32)
    n, d = X.shape
    ids = tuple(range(n)) if clients is None else tuple(clients)
    return Cohort(X, np.asarray(np.ones(n) if weights is None else weights, np.float64), ids, Layout.of({"x": (d,)}))


def server_at(d: int) -> ServerAt:
    """The server in round 1, with a model of zeros."""
    return ServerAt(1, Key.of(0), Layout.of({"x": (d,)}), np.zeros(d, np.float32))


def reduced(reduce: Reduce, cohort: Cohort) -> Reduced:
    """What a reduce without state makes of the cohort; the cohort must stay as it was."""
    before = cohort.X.copy()
    result, state = reduce.reduce(cohort, EMPTY, server_at(cohort.layout.size))
    assert state == EMPTY
    np.testing.assert_array_equal(cohort.X, before)
    assert result.vector.dtype == np.float32
    return result


def normal(n: int, d: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Standard normal rows in float32, scaled."""
    return (scale * np.random.default_rng(seed).standard_normal((n, d))).astype(np.float32)


def exact_squares(X: np.ndarray) -> np.ndarray:
    """Squared distances by their definition, pair by pair in extended precision."""
    wide = X.astype(np.longdouble)
    return np.array([[np.sum((a - b) ** 2) for b in wide] for a in wide])


HUGE = 1e38
"""Nearly the largest float32: its square overflows float32, its distances drown what is added to them."""
