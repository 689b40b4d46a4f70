"""Files that are whole or absent: written beside their place, synchronised, and moved there in one step."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from qfedfm.core.errors import CheckpointError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the system says against writing ``path`` into one line.

    Raises:
        CheckpointError: the disk is full, the folder is not writable, or a file lies where a folder should be.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        remedy = "make room or choose another --out; what was finished before is kept, and --resume goes on from there"
        raise CheckpointError(f"{path} cannot be written ({reason})", "a folder that can be written", remedy) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces ``path`` by ``content`` so that a crash at any moment leaves the old file or the new one."""
    beside = path.with_name(f".{path.name}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _synchronise(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of a JSON document; numbers that are not finite become null."""
    write_bytes(path, (json.dumps(finite(value), indent=1, ensure_ascii=False) + "\n").encode())


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Replaces the folder ``path`` by one that ``fill`` has written."""
    beside = path.with_name(f".{path.name}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        fill(beside)
        shutil.rmtree(path, ignore_errors=True)
        beside.replace(path)
        _synchronise(path.parent)


def finite(value: Any) -> Any:
    """The value with NaN and infinities, which JSON does not have, as None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _synchronise(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
