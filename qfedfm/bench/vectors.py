"""The updates that aggregators are timed on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

from qfedfm.core.key import Key

T = TypeVar("T")


def updates(n: int, d: int) -> Float32[np.ndarray, "n d"]:
    """Gaussian updates around a common one; every fifth is ten times as far away from it as the others."""
    rng = Key.of(7).fold("updates", n, d).numpy()
    made = rng.standard_normal((n, d), dtype=np.float32)
    made[::5] *= 10
    made += rng.standard_normal(d, dtype=np.float32)
    return made


def hostile(n: int) -> int:
    """How many of ``n`` updates the robust aggregators guard against: a fifth."""
    return n // 5


def timed(work: Callable[[T], np.ndarray], given: Callable[[], T], least: float = 1.0) -> tuple[float, np.ndarray]:
    """The median seconds of a call and its result.

    The first call warms up. There are at least three more, and as many as ``least`` seconds hold; a call that takes
    longer than that is timed once, the first time.

    Args:
        work: what is timed.
        given: makes what ``work`` is given, anew for each call and outside of the clock, so that nothing that was
            kept with it from the call before is of any use.
        least: seconds.
    """
    first, result = _once(work, given)
    if first > least:
        return first, result
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < least:
        passed, result = _once(work, given)
        seconds.append(passed)
    return float(np.median(seconds)), result


def _once(work: Callable[[T], np.ndarray], given: Callable[[], T]) -> tuple[float, np.ndarray]:
    made = given()
    begin = time.perf_counter()
    result = work(made)
    return time.perf_counter() - begin, result


def digest(vector: np.ndarray) -> list[float]:
    """Eight numbers with which two programs can tell whether they came to the same vector."""
    spread = np.linspace(0, len(vector) - 1, 7).astype(int)
    return [float(np.linalg.norm(vector.astype(np.float64))), *(float(vector[i]) for i in spread)]
