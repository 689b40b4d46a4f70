"""The accuracy after all rounds, seed by seed."""

from __future__ import annotations

from qfedfm.bench.child import answer, options, startup_seconds
from qfedfm.engine.experiment import Experiment


def main() -> None:
    """Every seed of the experiment, on its whole test set."""
    given = options()
    experiment = Experiment.of(given["experiment"])
    task = experiment.build_task()
    startup, accuracies = startup_seconds(given), []
    for seed in experiment.seeds:
        (*_, last) = experiment.rounds(seed=seed, task=task)
        accuracies.append(last.record["accuracy"])
    answer(startup_seconds=startup, accuracies=accuracies, rows=len(task.labels()))


if __name__ == "__main__":
    main()
