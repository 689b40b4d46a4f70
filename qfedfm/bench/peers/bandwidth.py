"""How fast this machine reads memory: the fastest of three ways to sum the same bytes."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch

from qfedfm.bench.child import answer, options, startup_seconds
from qfedfm.bench.vectors import timed, uncached, updates


def ways(n: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Programs that read every number of a matrix of ``n`` rows once."""
    ones = np.ones(n, np.float32)
    return {
        "numpy sum": lambda X: np.asarray(X.sum()),
        "torch sum": lambda X: np.asarray(torch.from_numpy(X).sum().item()),
        "ones @ X": lambda X: np.asarray(ones @ X),
    }


def main() -> None:
    """NumPy's sum, torch's sum on all threads, and a product with a vector of ones by the BLAS library."""
    given = options()
    startup, cases = startup_seconds(given), []
    for n in given["rows"]:
        X = updates(n, given["d"])
        seconds = {way: timed(work, uncached(functools.partial(np.asarray, X)))[0] for way, work in ways(n).items()}
        best = min(seconds, key=lambda way: seconds[way])
        cases.append({"n": n, "seconds": seconds[best], "way": best, "ways": seconds})
    answer(startup_seconds=startup, cases=cases)


if __name__ == "__main__":
    main()
