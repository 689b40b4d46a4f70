"""Runs one measured program in a process of its own, with the peak memory of everything that it starts."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from qfedfm.bench.child import SPAWNED
from qfedfm.core.errors import MissingExtraError, QfedfmError

INTERVAL = 0.5
"""Seconds between two looks at the memory."""

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Settings of peers that would otherwise reach for a network or warn."""


class BenchError(QfedfmError):
    """A measured program failed or did not answer."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Args:
        name: what tables call it.
        command: arguments after ``python``: usually ``-m`` and a module.
        options: what the program reads as its one JSON argument; None where it takes none.
        environment: further variables of its environment.
    """

    name: str
    command: tuple[str, ...]
    options: Mapping[str, Any] | None = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def module(cls, name: str, module: str, **options: Any) -> Side:
        """A program of this package."""
        return cls(name, ("-m", f"qfedfm.bench.{module}"), options)


def require(*modules: str) -> None:
    """Refuses to begin without a package that a case needs.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    for module in ("psutil", *modules):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(
                f"{module} is not installed, which this benchmark needs",
                "",
                'install it with: pip install -c constraints.txt -e ".[bench]"',
            )


def run(side: Side) -> dict[str, Any]:
    """Runs a program to its end.

    Returns:
        Its answer, with ``wall_seconds`` and ``peak_megabytes`` (10⁶ bytes): the largest sum of proportional set
        sizes over the process and all that it started, so that memory shared between them, such as an object store,
        counts once.

    Raises:
        BenchError: it ended with another status than 0 or without an answer.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        with _started(side, out, errors) as (process, family):
            status = None
            while status is None:
                family.look()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(INTERVAL)
        seconds = time.perf_counter() - begin
        if status != 0:
            raise BenchError(f"{side.name} ({side.command[1]}) ended with status {status}: {_last_line(errors)}")
        found = _answer(out) if side.options is not None else {}
    return {**found, "wall_seconds": seconds, "peak_megabytes": family.peak / 1e6}


@contextlib.contextmanager
def _started(side: Side, out: IO[str], errors: IO[str]) -> Iterator[tuple[subprocess.Popen[bytes], _Family]]:
    """The process in a session of its own, which a Ctrl-C at the terminal does not reach; ended with the block."""
    words = [] if side.options is None else [json.dumps({**side.options, SPAWNED: time.time()})]
    process = subprocess.Popen(
        [sys.executable, *side.command, *words],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=errors,
        env={**os.environ, **QUIET, **side.environment},
        start_new_session=True,
    )
    family = _Family(process.pid)
    try:
        yield process, family
    finally:
        family.end()
        process.wait()


class _Family:
    """A process and everything that it has been seen to start."""

    def __init__(self, pid: int) -> None:
        self._psutil = importlib.import_module("psutil")
        self.peak = 0
        self._known: dict[int, Any] = {}
        with contextlib.suppress(self._psutil.Error):
            self._known[pid] = self._psutil.Process(pid)

    def look(self) -> None:
        """Measures once."""
        total = 0
        for member in self._members():
            with contextlib.suppress(self._psutil.Error):
                memory = member.memory_full_info()
                total += getattr(memory, "pss", memory.uss)
        self.peak = max(self.peak, total)

    def _members(self) -> list[Any]:
        for member in list(self._known.values()):
            with contextlib.suppress(self._psutil.Error):
                self._known |= {child.pid: child for child in member.children(recursive=True)}
        # psutil compares the time of creation, so that a number that was given anew is no member
        self._known = {pid: member for pid, member in self._known.items() if member.is_running()}
        return list(self._known.values())

    def end(self) -> None:
        """Ends whoever is still there: politely, then not."""
        members = self._members()
        for member in members:
            with contextlib.suppress(self._psutil.Error):
                member.terminate()
        _, left = self._psutil.wait_procs(members, timeout=3)
        for member in left:
            with contextlib.suppress(self._psutil.Error):
                member.kill()


def _answer(out: IO[str]) -> dict[str, Any]:
    out.seek(0)
    lines = [line for line in out.read().splitlines() if line.strip()]
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise BenchError("a measured program that did not answer", "one line of JSON")
    return found


def _last_line(errors: IO[str]) -> str:
    errors.seek(0)
    lines = [line.strip() for line in errors.read().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"
