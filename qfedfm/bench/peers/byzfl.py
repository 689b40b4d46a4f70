"""ByzFL's aggregators on NumPy arrays."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from qfedfm.bench.child import answer, options, startup_seconds
from qfedfm.bench.vectors import digest, hostile, timed, updates


def library(module: str) -> Any:
    """``byzfl.<module>`` without the package's own ``__init__``, which imports torchvision for its benchmarks."""
    if "byzfl" not in sys.modules:
        found = importlib.util.find_spec("byzfl")
        package = types.ModuleType("byzfl")
        package.__path__ = list((found.submodule_search_locations if found else None) or [])
        sys.modules["byzfl"] = package
    return importlib.import_module(f"byzfl.{module}")


def aggregator(name: str, f: int) -> Callable[[np.ndarray], np.ndarray]:
    """The aggregator that the library's part of this name is compared with."""
    rules = library("aggregators.aggregators")
    made: dict[str, Callable[[], Any]] = {
        "mean": rules.Average,
        "median": rules.Median,
        "trimmed-mean": lambda: rules.TrMean(f),
        "krum": lambda: rules.Krum(f),
        "multi-krum": lambda: rules.MultiKrum(f),
        "geometric-median": rules.GeometricMedian,
        "nnm": lambda: library("aggregators.preaggregators").NNM(f),
    }
    rule: Callable[[np.ndarray], np.ndarray] = made[name]()
    return rule


def main() -> None:
    """Every named aggregator at every number of updates."""
    given = options()
    startup, cases = startup_seconds(given), []
    for n in sorted({n for _, n in given["cases"]}):
        X = updates(n, given["d"])
        for name in [name for name, number in given["cases"] if number == n]:
            seconds, vector = timed(_work(aggregator(name, hostile(n))), functools.partial(np.asarray, X))
            cases.append({"name": name, "n": n, "seconds": seconds, "digest": digest(vector)})
    answer(startup_seconds=startup, cases=cases)


def _work(rule: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda X: np.atleast_2d(rule(X))[0]


if __name__ == "__main__":
    main()
