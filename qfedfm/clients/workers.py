"""Passes over the model side by side on a CPU, each on one thread."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

from qfedfm.core.phases import handed_over

Item = TypeVar("Item")
Result = TypeVar("Result")


@functools.cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """A pool for this process: the threads of a parent do not survive a fork."""
    return ThreadPoolExecutor(workers, f"passes-{process}", initializer=torch.set_num_threads, initargs=(1,))


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """``work`` of every item, the results in the order of the items.

    Two threads inside of one product wait for each other more often than two products side by side do. Each item is
    worked on by one thread, so that its bits do not depend on how many there are.

    Args:
        work: called in several threads at once; what it raises is raised here, when no item is at work any more.
        items: what to work on.
        workers: how many at once; with 1 all items run here, on as many threads as torch is set to.
    """
    if workers == 1:
        return [work(item) for item in items]
    threads = torch.get_num_threads()
    # of this thread, and of the one setting that MKL has for the whole process
    torch.set_num_threads(1)
    running: list[Future[Result]] = []
    try:
        if len(items) == 1:
            return [work(items[0])]
        handed = handed_over(work, workers)
        pool = _pool(workers, os.getpid())
        running.extend(pool.submit(handed, item) for item in items)
        return [future.result() for future in running]
    finally:
        try:
            for future in running:
                future.cancel()
            wait(running)
        finally:  # also when a second Ctrl-C ends the waiting
            torch.set_num_threads(threads)
