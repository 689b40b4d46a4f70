"""`bench` runs one of the benchmarks by name."""

from __future__ import annotations

import importlib
import platform
from pathlib import Path
from typing import Any

from qfedfm.bench.process import require
from qfedfm.bench.runner import Runner
from qfedfm.core.errors import ConfigError, nearest
from qfedfm.engine.environment import versions

NAMES = ("simulate", "comparison", "scale", "aggregate", "fused", "quickstart", "circuits", "codecs", "qkd")
_PEERS = ("flwr", "ray", "byzfl", "pennylane", "pennylane-lightning", "qiskit", "cryptography")


def bench(name: str, runner: Runner) -> dict[str, Any]:
    """Runs a benchmark.

    Args:
        name: one of `NAMES`; each is the module of this package that says what is compared.
        runner: how thoroughly.

    Returns:
        ``{"schema": 1, "name", "environment", "cases": […]}``; see `qfedfm.bench.cases.case`.

    Raises:
        ConfigError: an unknown name.
        MissingExtraError: a peer is not installed.
        BenchError: a measured program failed.
    """
    if name not in NAMES:
        raise ConfigError(f"unknown benchmark {name!r}", f"one of {', '.join(NAMES)}", nearest(name, NAMES))
    require()
    cases, environment = importlib.import_module(f"qfedfm.bench.{name}").bench(runner)
    return {
        "schema": 1,
        "name": name,
        "environment": {**environment, "processor": processor(), "peers": versions(_PEERS), "quick": runner.quick},
        "cases": cases,
    }


def processor() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
