"""Ctrl-C ends a run even where a library swallows it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from qfedfm.core.progress import Event, Watch


@contextmanager
def heard(watch: Watch) -> Iterator[Watch]:
    """``watch``, and after it the interrupt that came since and went nowhere.

    Python raises ``KeyboardInterrupt`` wherever the program happens to be. In a callback from compiled code that is
    lost without a word (measured: one run in thirty went on to its end), so the signal is remembered beside the
    exception and raised again at the next event. A handler that somebody else has set is left alone.

    Args:
        watch: called with each event.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield watch
        return
    asked = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.default_int_handler(number, frame)

    def watched(event: Event) -> None:
        watch(event)
        if asked.is_set():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield watched
    finally:
        signal.signal(signal.SIGINT, before)
