"""The folder that a run writes: who owns it, and where everything lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qfedfm.core.errors import CheckpointError
from qfedfm.engine.files import finite, write_bytes, write_json
from qfedfm.engine.state import RunState, load, save


@dataclass(frozen=True)
class Folder:
    """The files of one run. ``digest`` is the experiment's, against which everything found there is checked."""

    path: Path
    digest: str

    def claim(self, resume: bool) -> dict[str, Any]:
        """What an earlier session of the same experiment noted (empty the first time).

        Raises:
            CheckpointError: the folder holds another experiment, a run that is not to be resumed, or other files.
        """
        note = self.path / "run.json"
        if not note.exists():
            if self.path.is_file() or (self.path.is_dir() and any(not _ours(file) for file in self.path.iterdir())):
                given = f"{self.path} holds files that are not of a run"
                raise CheckpointError(given, "a new or an empty folder", "choose another --out")
            return {}
        try:
            known = json.loads(note.read_text(encoding="utf-8"))
            digest = known["digest"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{note} cannot be read ({error})", "", "choose another --out") from None
        if digest != self.digest:
            given = f"{self.path} holds a run of configuration {digest}"
            raise CheckpointError(given, self.digest, "resume with the same experiment, or choose another --out")
        if not resume:
            remedy = "go on with --resume, or choose another --out"
            raise CheckpointError(f"{self.path} holds a run already", "", remedy)
        return dict(known)

    def note(self, about: Mapping[str, Any]) -> None:
        """Writes what the next session must know."""
        write_json(self.path / "run.json", {"digest": self.digest, **about})

    def _checkpoint(self, method: str, seed: int) -> Path:
        return self.path / "checkpoints" / method / f"seed-{seed}.safetensors"

    def _identity(self, method: str, seed: int) -> dict[str, Any]:
        return {"configuration": self.digest, "method": method, "seed": seed}

    def load(self, method: str, seed: int) -> RunState | None:
        """The checkpoint of a run, or None."""
        path = self._checkpoint(method, seed)
        return load(path, self._identity(method, seed)) if path.exists() else None

    def save(self, method: str, seed: int, state: RunState) -> None:
        """Replaces the checkpoint of a run."""
        save(self._checkpoint(method, seed), state, self._identity(method, seed))

    def adapter(self, method: str, seed: int) -> Path:
        """Where the tuned adapter of a run lies."""
        return self.path / "adapters" / method / f"seed-{seed}"

    def rewrite_history(self, lines: list[Mapping[str, Any]]) -> None:
        """Replaces ``history.jsonl``."""
        write_bytes(self.path / "history.jsonl", b"".join(_line(line) for line in lines))

    def append_history(self, line: Mapping[str, Any]) -> None:
        """Adds a line to ``history.jsonl``; the checkpoint is what counts, so a torn line is mended on resume."""
        with (self.path / "history.jsonl").open("ab") as file:
            file.write(_line(line))

    def tuning(self) -> dict[str, Any]:
        """The trials that were finished."""
        path = self.path / "tuning.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def write_tuning(self, scores: Mapping[str, Any]) -> None:
        """Replaces the trials."""
        write_json(self.path / "tuning.json", scores)

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Replaces ``results.json``."""
        write_json(self.path / "results.json", results)


def _line(line: Mapping[str, Any]) -> bytes:
    return (json.dumps(finite(dict(line)), ensure_ascii=False) + "\n").encode()


def _ours(file: Path) -> bool:
    """Whether a file is what a crash before the first note leaves behind."""
    return file.name == ".run.json.partial"
