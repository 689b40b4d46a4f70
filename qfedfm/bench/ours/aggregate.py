"""The library's reduces on a matrix of updates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qfedfm.bench.child import answer, options, startup_seconds
from qfedfm.bench.vectors import digest, hostile, timed, updates
from qfedfm.core.cohort import Cohort
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import ServerAt
from qfedfm.core.registry import build
from qfedfm.engine.environment import environment

GUARDED = ("trimmed-mean", "krum", "multi-krum", "nnm")
"""The parts that are told how many clients may be hostile."""


def main() -> None:
    """Every named part at every number of updates."""
    given = options()
    startup, cases = startup_seconds(given), []
    for n in sorted({n for _, n in given["cases"]}):
        X = updates(n, given["d"])
        for name in [name for name, number in given["cases"] if number == n]:
            seconds, vector = timed(_work(name, X))
            cases.append({"name": name, "n": n, "seconds": seconds, "digest": digest(vector)})
    answer(startup_seconds=startup, cases=cases, environment=environment({}))


def _work(name: str, X: np.ndarray) -> Callable[[], np.ndarray]:
    n, d = X.shape
    cohort = Cohort(X, np.ones(n), tuple(range(n)), Layout.of({"adapter": (d,)}))
    at = ServerAt(1, Key.of(1), cohort.layout, np.zeros(d, np.float32))
    config = {"name": name, "hostile": hostile(n)} if name in GUARDED else name
    if name == "nnm":
        layer = build("cohort layer", config)
        return lambda: np.asarray(layer.lift(cohort, at).X[0])
    reduce = build("reduce", config)
    return lambda: np.asarray(reduce.reduce(cohort, {}, at)[0].vector)


if __name__ == "__main__":
    main()
