"""A whole comparison, as the command line runs it: methods × seeds, checkpoints and results included."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from qfedfm.bench.child import answer, options, startup_seconds
from qfedfm.core.phases import recording
from qfedfm.core.progress import Event
from qfedfm.engine.experiment import Experiment


def main() -> None:
    """Times everything from the first step of the first client to the finished results; the report is counted apart."""
    given = options()
    experiment = Experiment.of(given["experiment"])
    task = experiment.build_task()
    trained: list[float] = []

    def watch(event: Event) -> None:
        if event.stage == "report":
            trained.append(time.perf_counter())

    begin, before = time.perf_counter(), startup_seconds(given)
    with tempfile.TemporaryDirectory() as folder, recording() as recorder:
        result = experiment.run(Path(folder) / "out", task=task, watch=watch)
        end = time.perf_counter()
        results = result.results
    runs = results["runs"]
    first = min(span.start for span in recorder.spans if span.path[-1] == "train") / 1e9
    answer(
        startup_seconds=before + first - begin,
        seconds=trained[-1] - first,
        report_seconds=end - trained[-1],
        runs=len(runs),
        accuracy={f"{run['method']} {run['seed']}": run["final"]["accuracy"] for run in runs},
        environment=results["environment"],
    )


if __name__ == "__main__":
    main()
