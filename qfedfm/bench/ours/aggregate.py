"""The library's reduces on a matrix of updates."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch  # noqa: F401 - start-up is apart: no call that is timed is to import it

from qfedfm.bench.child import answer, options, startup_seconds
from qfedfm.bench.vectors import digest, hostile, timed, uncached, updates
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
    startup, cases, uncached_means = startup_seconds(given), [], []
    for n in sorted({n for _, n in given["cases"]}):
        X = updates(n, given["d"])
        for name in [name for name, number in given["cases"] if number == n]:
            seconds, vector = timed(_work(name, n), functools.partial(_cohort, X))
            cases.append({"name": name, "n": n, "seconds": seconds, "digest": digest(vector)})
        seconds, _ = timed(_work("mean", n), uncached(functools.partial(_cohort, X)))
        uncached_means.append({"n": n, "seconds": seconds})
    answer(startup_seconds=startup, cases=cases, uncached_means=uncached_means, environment=environment({}))


def _cohort(X: np.ndarray) -> Cohort:
    n, d = X.shape
    return Cohort(X, np.ones(n), tuple(range(n)), Layout.of({"adapter": (d,)}))


def _at(cohort: Cohort) -> ServerAt:
    return ServerAt(1, Key.of(1), cohort.layout, np.zeros(cohort.layout.size, np.float32))


def _work(name: str, n: int) -> Callable[[Cohort], np.ndarray]:
    config = {"name": name, "hostile": hostile(n)} if name in GUARDED else name
    if name == "nnm":
        layer = build("cohort layer", config)
        return lambda cohort: np.asarray(layer.lift(cohort, _at(cohort)).X[0])
    reduce = build("reduce", config)
    return lambda cohort: np.asarray(reduce.reduce(cohort, {}, _at(cohort))[0].vector)


if __name__ == "__main__":
    main()
