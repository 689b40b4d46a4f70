"""Where the time of a run goes: a Chrome trace, and the shares of the phases in words."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qfedfm.core.phases import Recorder, recording
from qfedfm.engine.files import write_json

_TRAINING = ("train", "data", "encode")
_PASSES = ("forward", "backward")


@contextlib.contextmanager
def profiling(path: Path) -> Iterator[None]:
    """Records the block and writes ``path``, also when the block is interrupted.

    Nothing is written where nothing was recorded, such as after a mistake in the configuration.
    """
    with recording(_synchronize) as recorder:
        clock = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - clock
            if recorder.spans:
                write_json(path, {**recorder.trace(), "otherData": summary(recorder, seconds)})


def _synchronize() -> None:
    """Waits for CUDA, where it is in use; torch is not imported for that."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def summary(recorder: Recorder, seconds: float) -> dict[str, Any]:
    """The numbers behind the sentences of `sentences`.

    ``phases`` are the seconds of each phase outside those inside it, together no more than ``seconds``. ``training`` is
    the time of local training with its data and the clients' encoding, ``passes`` what of it were forward and backward
    passes, and ``overhead`` what the rest is as a fraction of those; None without any pass.
    """
    training = recorder.seconds(*_TRAINING)
    passes = recorder.seconds(*_PASSES, within=_TRAINING)
    overhead = (training - passes) / passes if passes else None
    return {
        "seconds": seconds, "phases": recorder.own(), "training": training, "passes": passes, "overhead": overhead,
    }  # fmt: skip


def sentences(found: dict[str, Any]) -> list[str]:
    """A `summary` in words."""
    seconds, phases = found["seconds"], dict(found["phases"])
    if "train" in phases:
        phases["rest of training"] = phases.pop("train")
    phases["everything else"] = max(0.0, seconds - sum(phases.values()))
    largest = sorted(phases.items(), key=lambda item: -item[1])
    shares = ", ".join(f"{name} {spent / seconds:.1%}" for name, spent in largest)
    said = [f"Of {seconds:.1f} s: {shares}."]
    if found["overhead"] is not None:
        said.append(
            f"Training took {found['training']:.1f} s; the engine's own overhead over its forward and backward passes "
            f"is {found['overhead']:.1%}."
        )
    return said
