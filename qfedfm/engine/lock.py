"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from qfedfm.core.errors import CheckpointError

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder for this process, by a lock of the operating system that ends with it, however it ends.

    The folder itself is locked, so that no file is left behind. Where a system knows no such locks, nothing is.

    Raises:
        CheckpointError: another process holds it.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            remedy = "wait until it has finished, stop it, or choose another --out"
            raise CheckpointError(f"{folder} is in use by another run", "a folder for this run alone", remedy) from None
        except OSError:
            pass  # a file system without such locks, such as some that are mounted from elsewhere
        yield
    finally:
        os.close(handle)
