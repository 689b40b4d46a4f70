"""Rounds with validation data, for the tests of learned client weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from qfedfm.core.cohort import Cohort, Reduced, State
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import Objective, Reduce, ServerAt
from tests.reduces.cohorts import cohort_of

Measure = Callable[[np.ndarray], tuple[float, np.ndarray]]


def both(measure: Measure) -> Objective:
    """The objective of a function that gives loss and gradient."""
    return Objective(measure, lambda delta: measure(delta)[0])


@dataclass
class Quadratic:
    """½ (x − x*)ᵀ H (x − x*) with its gradient; remembers where it was asked."""

    target: np.ndarray
    H: np.ndarray
    asked: list[np.ndarray] = field(default_factory=list)

    def __call__(self, delta: np.ndarray) -> tuple[float, np.ndarray]:
        self.asked.append(delta)
        gap = delta.astype(np.float64) - self.target
        return float(0.5 * gap @ self.H @ gap), (self.H @ gap).astype(np.float32)


@dataclass
class Linear:
    """⟨g, x⟩: its linearisation is exact."""

    g: np.ndarray
    asked: list[np.ndarray] = field(default_factory=list)

    def __call__(self, delta: np.ndarray) -> tuple[float, np.ndarray]:
        self.asked.append(delta)
        return float(self.g @ delta), self.g.astype(np.float32)


def surrogate(clients: int, hostile: int, seed: int, scale: float = 3.0) -> tuple[Cohort, Quadratic]:
    """Clients that went part of the way to the optimum, with noise; the first ``hostile`` of them the other way."""
    rng, d = np.random.default_rng(seed), 60
    target = 3 * rng.normal(size=d) / np.sqrt(d)
    root = rng.normal(size=(d, d)) / np.sqrt(d)
    X = target * rng.uniform(0.3, 0.6) + rng.normal(size=(clients, d)) * 1.2 / np.sqrt(d)
    X[:hostile] *= -scale
    return cohort_of(X, weights=1.0 + np.arange(clients) % 3), Quadratic(target, root @ root.T + 0.1 * np.eye(d))


def start(reduce: Reduce, population: Sequence[int]) -> State:
    """The state before the first round."""
    return reduce.init(Layout.of({"x": (1,)}), tuple(population))


def round_of(
    reduce: Reduce, cohort: Cohort, objective: Measure | Objective | None, state: State | None = None, round_: int = 1
) -> tuple[Reduced, State]:
    """One round from a state, or from the start with the cohort's clients as the population."""
    layout = cohort.layout
    given = objective if objective is None or isinstance(objective, Objective) else both(objective)
    at = ServerAt(round_, Key.of(0), layout, np.zeros(layout.size, np.float32), given)
    return reduce.reduce(cohort, start(reduce, cohort.clients) if state is None else state, at)
