"""The case ``quickstart``: the first command of the README, from a cold start, as a user types it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from qfedfm.bench.cases import case, rounded
from qfedfm.bench.process import Side
from qfedfm.bench.runner import Runner
from qfedfm.core.errors import DataError

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "quickstart.toml"
TARGET = 45.0
"""Seconds on two cores."""


def bench(runner: Runner) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Fresh process, empty folder, start-up, checkpoints and report included."""
    if not EXPERIMENT.is_file():
        raise DataError(f"no {EXPERIMENT.name} beside the package", "a checkout of the repository", "clone it")
    answers, results = [], {}
    for turn in range(1, runner.repetitions + 1):
        runner.say(f"quickstart, {turn} of {runner.repetitions}")
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "out"
            words = ("run", str(EXPERIMENT), "--out", str(out))
            command = ("-c", "from qfedfm.cli import main; main()", *words)
            answers.append(runner.play(Side("quickstart", command, None)))
            results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    seconds = [float(answer["wall_seconds"]) for answer in answers]
    parts = {
        name: rounded(sum(float(run[name]) for run in results["runs"])) for name in ("train_seconds", "server_seconds")
    }
    peak = rounded(max(float(answer["peak_megabytes"]) for answer in answers))
    found = case(
        "quickstart",
        "seconds",
        seconds,
        [TARGET] * len(seconds),
        "the most that it may take",
        1.0,
        peak_megabytes=peak,
        **parts,
    )
    return [found], dict(results["environment"])
