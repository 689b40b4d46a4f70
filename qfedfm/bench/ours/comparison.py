"""A whole comparison, as the command line runs it: methods × seeds, checkpoints and results included."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from qfedfm.bench.child import answer, options, startup_seconds
from qfedfm.core.key import Key
from qfedfm.core.progress import Event
from qfedfm.engine.experiment import Experiment


def main() -> None:
    """Times everything between the loaded model and the finished results; the report is counted apart."""
    given = options()
    experiment = Experiment.of(given["experiment"])
    task = experiment.build_task()
    task.model(Key.of(0))
    trained: list[float] = []

    def watch(event: Event) -> None:
        if event.stage == "report":
            trained.append(time.perf_counter())

    startup, begin = startup_seconds(given), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = experiment.run(Path(folder) / "out", task=task, watch=watch)
    end = time.perf_counter()
    runs = result.results["runs"]
    answer(
        startup_seconds=startup,
        seconds=trained[-1] - begin,
        report_seconds=end - trained[-1],
        runs=len(runs),
        accuracy={f"{run['method']} {run['seed']}": run["final"]["accuracy"] for run in runs},
        environment=result.results["environment"],
    )


if __name__ == "__main__":
    main()
