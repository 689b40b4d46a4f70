"""The folder that a run writes: who owns it, and where everything lies."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qfedfm.core.errors import CheckpointError
from qfedfm.engine.archive import Archive
from qfedfm.engine.clientstates import OnDisk
from qfedfm.engine.files import finite, write_bytes, write_json, writing
from qfedfm.engine.tune import Trial


@dataclass(frozen=True)
class Folder:
    """The files of one run. ``digest`` is the experiment's, against which everything found there is checked."""

    path: Path
    digest: str

    def claim(self, resume: bool) -> dict[str, Any]:
        """What an earlier session of the same experiment noted (empty the first time).

        Raises:
            CheckpointError: the folder holds another experiment, a run that is not to be resumed, or other files, or
                nothing can be written there.
        """
        with writing(self.path):
            return self._claim(resume)

    def _claim(self, resume: bool) -> dict[str, Any]:
        note = self.path / "run.json"
        if not note.exists():
            if self.path.is_dir() and any(not _ours(file) for file in self.path.iterdir()):
                given = f"{self.path} holds files that are not of a run"
                raise CheckpointError(given, "a new or an empty folder", "choose another --out")
            self._require_writable()
            return {}
        known = _read(note, "choose another --out")
        digest, epoch, plan = known.get("digest"), known.get("epoch"), known.get("plan")
        if not isinstance(digest, str) or not isinstance(epoch, int) or not isinstance(plan, dict):
            raise CheckpointError(f"{note} cannot be read (altered)", "the note of a run", "choose another --out")
        if digest != self.digest:
            given = f"{self.path} holds a run of configuration {digest}"
            raise CheckpointError(given, self.digest, "resume with the same experiment, or choose another --out")
        if not resume:
            remedy = "go on with --resume, or choose another --out"
            raise CheckpointError(f"{self.path} holds a run already", "", remedy)
        self._require_writable()
        return known

    def _require_writable(self) -> None:
        """Finds out before model and data are read, not after the first round."""
        nearest = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.exists())
        if not nearest.is_dir():
            given = f"{nearest}, which is a file" + ("" if nearest == self.path else f", on the way to {self.path}")
            raise CheckpointError(given, "a folder", "choose another --out")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise CheckpointError(f"{nearest} cannot be written", "a folder of yours", "choose another --out")

    def create(self) -> None:
        """Makes the folder."""
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def note(self, about: Mapping[str, Any]) -> None:
        """Writes what the next session must know."""
        write_json(self.path / "run.json", {"digest": self.digest, **about})

    def archive(self, method: str, seed: int) -> Archive:
        """The checkpoints of a run."""
        return self._archive(self.path, Path(method, f"seed-{seed}"), {"method": method, "seed": seed})

    def trial(self, trial: Trial) -> Archive:
        """The checkpoints of a trial of the tuning."""
        place = Path(trial.method, str(trial.number), f"seed-{trial.seed}")
        about = {"method": trial.method, "seed": trial.seed, "trial": trial.number}
        return self._archive(self.path / "tuning", place, about)

    def _archive(self, above: Path, place: Path, about: Mapping[str, Any]) -> Archive:
        identity = {"configuration": self.digest, **about}
        checkpoint = above / "checkpoints" / place.with_name(f"{place.name}.safetensors")
        return Archive(checkpoint, OnDisk(above / "clients" / place, identity), identity)

    def adapter(self, method: str, seed: int, cluster: int | None = None) -> Path:
        """Where the tuned adapter of a run lies, or that of one of its clusters."""
        name = f"seed-{seed}" if cluster is None else f"seed-{seed}-cluster-{cluster}"
        return self.path / "adapters" / method / name

    def rewrite_history(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Replaces ``history.jsonl``."""
        write_bytes(self.path / "history.jsonl", b"".join(_line(line) for line in lines))

    def append_history(self, line: Mapping[str, Any]) -> None:
        """Adds a line to ``history.jsonl``; the checkpoint is what counts, so a torn line is mended on resume."""
        path = self.path / "history.jsonl"
        with writing(path), path.open("ab") as file:
            file.write(_line(line))

    def tuning(self) -> dict[str, Any]:
        """The trials that were finished."""
        path = self.path / "tuning.json"
        scores = _read(path, "delete it to tune anew") if path.exists() else {}
        if not all(isinstance(score, float) for score in scores.values()):
            raise CheckpointError(f"{path} cannot be read (altered)", "the scores of trials", "delete it to tune anew")
        return scores

    def write_tuning(self, scores: Mapping[str, Any]) -> None:
        """Replaces the scores of the trials."""
        write_json(self.path / "tuning.json", scores)

    def remove_trials(self) -> None:
        """Removes the checkpoints of the trials, once their scores are written."""
        shutil.rmtree(self.path / "tuning", ignore_errors=True)

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Replaces ``results.json``."""
        write_json(self.path / "results.json", results)


def _read(path: Path, remedy: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"{path} cannot be read ({reason})", "what `qfedfm run` wrote", remedy) from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} cannot be read (a {type(found).__name__})", "a JSON object", remedy)
    return found


def _line(line: Mapping[str, Any]) -> bytes:
    return (json.dumps(finite(dict(line)), ensure_ascii=False) + "\n").encode()


def _ours(file: Path) -> bool:
    """Whether a file is what a crash before the first note leaves behind."""
    return file.name == ".run.json.partial"
