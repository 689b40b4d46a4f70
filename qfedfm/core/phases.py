"""Where the time goes: named phases, recorded only while somebody asks, as a Chrome trace.

A trace opens in ``chrome://tracing`` and in Perfetto. The names in use are those of `NAMES`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

NAMES = ("train", "data", "forward", "backward", "encode", "wire", "reduce", "evaluate", "save")
"""``train`` is what the client engine does to train; the others may lie inside it or beside it."""


@dataclass(frozen=True)
class Span:
    """One phase that has ended.

    Args:
        path: the phases around it and itself, outermost first.
        start: of the recorder's clock, in nanoseconds.
        end: likewise.
        own: nanoseconds that were spent in no phase inside it.
        thread: the thread that it ran on.
        beside: how many threads share the work that it is part of. Its times count as so much of a second each, so
            that together the phases are no more than the time that passed.
    """

    path: tuple[str, ...]
    start: int
    end: int
    own: int
    thread: int
    beside: int = 1


@dataclass(frozen=True)
class Recorder:
    """Collects the phases of all threads.

    Args:
        began: when recording began, in nanoseconds of a monotonic clock.
        synchronize: called at both ends of every phase; waits for a device that works asynchronously.
        spans: what has ended so far, in the order of the ends.
    """

    began: int
    synchronize: Callable[[], None] | None = None
    spans: list[Span] = field(default_factory=list)

    def seconds(self, *names: str, within: Container[str] | None = None) -> float:
        """Seconds in phases of these names, those inside another of them once.

        Args:
            names: of the phases.
            within: only those that have one of these somewhere around them.
        """
        total = 0.0
        for span in self.spans:
            *around, name = span.path
            outermost = name in names and not any(each in names for each in around)
            if outermost and (within is None or any(each in within for each in around)):
                total += (span.end - span.start) / span.beside
        return total / 1e9

    def own(self) -> dict[str, float]:
        """Seconds of each name outside the phases inside it: together they are no more than the time that passed.

        What is inside ``reduce`` or ``evaluate`` counts there: a reduce's passes over validation rows are its own cost.
        """
        found: dict[str, float] = {}
        for span in self.spans:
            name = next((name for name in span.path if name in ("reduce", "evaluate")), span.path[-1])
            found[name] = found.get(name, 0.0) + span.own / span.beside / 1e9
        return found

    def trace(self) -> dict[str, Any]:
        """The JSON object of a Chrome trace: complete events, times in microseconds since recording began."""
        process = os.getpid()
        events = [
            {
                "name": span.path[-1], "cat": "qfedfm", "ph": "X", "ts": (span.start - self.began) / 1e3,
                "dur": (span.end - span.start) / 1e3, "pid": process, "tid": span.thread,
            }
            for span in self.spans
        ]  # fmt: skip
        return {"traceEvents": events, "displayTimeUnit": "ms"}


class _Idle:
    """What a phase is while nobody records."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


class _Running:
    """A phase that is being recorded."""

    __slots__ = ("beside", "elsewhere", "inside", "name", "path", "recorder", "start")

    def __init__(self, name: str, recorder: Recorder, beside: int = 1) -> None:
        self.name, self.recorder, self.beside, self.inside, self.start = name, recorder, beside, 0, 0
        self.elsewhere: list[int] = []  # of the phases inside it on other threads; appending needs no lock
        self.path: tuple[str, ...] = (name,)

    def __enter__(self) -> None:
        if self.recorder.synchronize is not None:
            self.recorder.synchronize()
        around = _open()
        self.path = (*(around[-1].path if around else ()), self.name)
        around.append(self)
        self.start = time.perf_counter_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.recorder.synchronize is not None and kind is None:
            self.recorder.synchronize()
        end = time.perf_counter_ns()
        around = _open()
        around.remove(self)
        if around and around[-1].beside == self.beside:
            around[-1].inside += end - self.start
        elif around:
            around[-1].elsewhere.append((end - self.start) // self.beside)
        own = end - self.start - self.inside - sum(self.elsewhere)
        self.recorder.spans.append(Span(self.path, self.start, end, own, threading.get_ident(), self.beside))


_IDLE = _Idle()
_RECORDING: list[Recorder] = []
_LOCAL = threading.local()


def _open() -> list[_Running]:
    """The phases that this thread is in, outermost first."""
    found: list[_Running] | None = getattr(_LOCAL, "open", None)
    if found is None:
        found = _LOCAL.open = []
    return found


def phase(name: str) -> AbstractContextManager[None]:
    """Names what happens in the block, for whoever records; while nobody does it costs a look at a list.

    Example:
        >>> with recording() as recorder, phase("evaluate"), phase("forward"):
        ...     pass
        >>> [span.path for span in recorder.spans]
        [('evaluate', 'forward'), ('evaluate',)]
    """
    return _Running(name, _RECORDING[-1], getattr(_LOCAL, "beside", 1)) if _RECORDING else _IDLE


def handed_over(work: Callable[[Item], Result], beside: int) -> Callable[[Item], Result]:
    """The same function for ``beside`` other threads: its phases lie inside those that this thread is in now."""
    around = tuple(_open())

    def run(item: Item) -> Result:
        before = _open()
        _LOCAL.open, _LOCAL.beside = list(around), beside
        try:
            return work(item)
        finally:
            _LOCAL.open, _LOCAL.beside = before, 1

    return run


@contextlib.contextmanager
def recording(synchronize: Callable[[], None] | None = None) -> Iterator[Recorder]:
    """Records the phases of the block, of all threads; see `Recorder`."""
    recorder = Recorder(time.perf_counter_ns(), synchronize)
    _RECORDING.append(recorder)
    try:
        yield recorder
    finally:
        _RECORDING.remove(recorder)
