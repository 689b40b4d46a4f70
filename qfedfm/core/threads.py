"""Work on the columns of a matrix in several threads, with results that do not depend on their number."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock, local
from typing import Any, TypeVar

Result = TypeVar("Result")
_STRIPS = 16
_NARROWEST = 2**14
_one_at_a_time = Lock()
"""The number of BLAS threads belongs to the process: two callers would each restore what the other had set."""
_thread = local()


@functools.cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().select(user_api="blas")


@functools.cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """A pool for this process: the threads of a parent do not survive a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"columns-{process}")


def threads() -> int:
    """As many as the BLAS of numpy was told to use (``OMP_NUM_THREADS``), by default one for each core."""
    return max((library.get_num_threads() for library in _blas().lib_controllers), default=os.cpu_count() or 1)


def over_strips(d: int, work: Callable[[int, int], Result], align: int = 1) -> list[Result]:
    """``work(start, stop)`` on up to 16 strips of d columns, in threads of their own.

    Strips follow d alone, and each is worked on by one thread: BLAS splits a product by the number of its threads, and
    the last bits with it. Inside of ``work`` the same function runs in the thread that called it.

    Args:
        d: columns.
        work: may change only what belongs to its columns; numpy releases the interpreter in its loops.
        align: every strip but the last has a multiple of so many columns.

    Returns:
        The results in the order of the strips.

    Example:
        >>> over_strips(40_000, lambda start, stop: stop - start, align=1000)
        [17000, 17000, 6000]
    """
    width = max(_NARROWEST, -(-d // _STRIPS))
    width = -(-width // align) * align
    starts = range(0, d, width)

    def strip(start: int) -> Result:
        _thread.busy = True
        try:
            return work(start, min(start + width, d))
        finally:
            _thread.busy = False

    if getattr(_thread, "busy", False):
        return [work(start, min(start + width, d)) for start in starts]
    with _one_at_a_time:
        count = min(threads(), len(starts))
        with _blas().limit(limits=1):
            return list((_pool(count, os.getpid()).map if count > 1 else map)(strip, starts))


def over_columns(d: int, width: int, work: Callable[[slice], object]) -> None:
    """``work(columns)`` on chunks of the columns, in threads; chunks of a width that stays in the cache.

    Args:
        d: columns.
        width: of every chunk but the last.
        work: may change only what belongs to its columns.
    """

    def strip(start: int, stop: int) -> None:
        for at in range(start, stop, width):
            work(slice(at, min(at + width, stop)))

    over_strips(d, strip, width)
