"""`bench` runs one of the benchmarks by name."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from qfedfm.bench.process import require
from qfedfm.bench.runner import Runner
from qfedfm.core.errors import ConfigError, nearest

NAMES = ("simulate", "comparison", "scale", "aggregate", "fused", "quickstart")
_PEERS = ("flwr", "ray", "byzfl")


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
        "environment": {**environment, "processor": processor(), "peers": peers(), "quick": runner.quick},
        "cases": cases,
    }


def peers() -> dict[str, str]:
    """The versions of those peers that are installed."""
    found = {}
    for package in _PEERS:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
