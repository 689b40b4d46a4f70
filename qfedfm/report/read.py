"""Reads the files that a run leaves behind, and refuses what is not one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qfedfm.core.errors import CheckpointError

SCHEMA = 1
DEVICES = "devices.json"
"""What devices made of a run's circuits, beside its results."""
_TABLES = {"experiment": dict, "summary": list, "clients": dict, "conclusion": list, "tuning": dict}


def read_run(folder: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """``results.json`` and the lines of ``history.jsonl`` of a folder that ``qfedfm run`` wrote or is still writing.

    While no run has finished there may be no ``results.json``: it then reads as an empty mapping.

    Raises:
        CheckpointError: there is no such folder, it holds no results, or a file in it is damaged or of another schema.
    """
    folder = Path(folder)
    results, history = folder / "results.json", folder / "history.jsonl"
    if not results.is_file() and not history.is_file():
        found = "holds neither results.json nor history.jsonl" if folder.is_dir() else "is no folder"
        raise CheckpointError(f"{folder} {found}", "a folder that `qfedfm run` wrote", "check the path")
    return _results(results), _history(history)


def read_devices(folder: str | Path) -> list[dict[str, Any]]:
    """What devices made of a run's circuits so far; empty where none has run any.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = Path(folder) / DEVICES
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})", "what `qfedfm jobs result` wrote") from None
    if not isinstance(found, list) or not all(isinstance(line, dict) and "job" in line for line in found):
        raise CheckpointError(
            f"{path} is damaged", "what `qfedfm jobs result` wrote", "remove it and read the jobs again"
        )
    return found


def _results(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})", "the JSON that `qfedfm run` wrote") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise CheckpointError(f"{path} of schema {schema!r}", f"{SCHEMA}", "make it again with this version of qfedfm")
    runs = found.get("runs")
    if not isinstance(runs, list) or not all(
        isinstance(run, dict) and {"method", "seed"} <= run.keys() for run in runs
    ):
        raise CheckpointError(f"{path} without a list of runs", "a method and a seed in each run")
    for name, kind in _TABLES.items():
        if not isinstance(found.get(name), kind | None):
            given = f"{path} with a {type(found[name]).__name__} as {name}"
            raise CheckpointError(given, "the JSON that `qfedfm run` wrote", "run with --resume")
    return dict(found)


def _history(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})", "the lines that `qfedfm run` wrote") from None
    # A run that was killed, or one that is still writing, leaves a last line without its end.
    whole, _, _ = text.rpartition("\n")
    return [_line(path, number, line) for number, line in enumerate(whole.split("\n"), 1) if line.strip()]


def _line(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not {"method", "seed", "round"} <= found.keys():
        raise CheckpointError(
            f"line {number} of {path} is damaged", "a method, a seed and a round", "run with --resume"
        )
    return found
