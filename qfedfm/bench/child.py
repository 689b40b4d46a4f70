"""What a measured program reads and writes: options as one JSON argument, the answer as one line of JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

SPAWNED = "spawned"
"""The option that says when the harness started the process, in seconds of the system's clock."""


def options() -> dict[str, Any]:
    """The options that the harness gave."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def startup_seconds(given: dict[str, Any]) -> float:
    """Seconds since the harness started this process: imports, data, model."""
    return time.time() - float(given[SPAWNED])


def answer(**fields: Any) -> None:
    """Prints the answer; the harness reads the last line of the output."""
    sys.stdout.write("\n" + json.dumps(fields) + "\n")
    sys.stdout.flush()


def high_water_megabytes() -> float:
    """The most memory that this process has held at once, in MB (10⁶ bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


class Laps:
    """A stopwatch: seconds between calls of `lap`."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = time.perf_counter()

    def lap(self) -> None:
        """Ends one lap and begins the next."""
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now
