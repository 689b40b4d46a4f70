"""The updates that aggregators are timed on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

from qfedfm.core.key import Key

T = TypeVar("T")
_CALLS = 20
_LARGER_THAN_CACHES = 2**27
"""Numbers of float32: 512 MB."""


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

    The first call warms up. There are at least three more, and as many as ``least`` seconds hold, 20 at most; a call
    that takes longer than that is timed once, the first time.

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
    while len(seconds) < 3 or (sum(seconds) < least and len(seconds) < _CALLS):
        passed, result = _once(work, given)
        seconds.append(passed)
    return float(np.median(seconds)), result


def _once(work: Callable[[T], np.ndarray], given: Callable[[], T]) -> tuple[float, np.ndarray]:
    made = given()
    begin = time.perf_counter()
    result = work(made)
    return time.perf_counter() - begin, result


def uncached(make: Callable[[], T]) -> Callable[[], T]:
    """The same maker, after which nothing of what it made is in the processor's caches any more."""
    other = np.zeros(_LARGER_THAN_CACHES, np.float32)

    def made() -> T:
        found = make()
        np.add(other, 1, out=other)
        return found

    return made


def digest(vector: np.ndarray) -> list[float]:
    """Eight numbers with which two programs can tell whether they came to the same vector."""
    spread = np.linspace(0, len(vector) - 1, 7).astype(int)
    return [float(np.linalg.norm(vector.astype(np.float64))), *(float(vector[i]) for i in spread)]
