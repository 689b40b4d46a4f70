"""Rounds of a sample out of a population."""

from __future__ import annotations

from qfedfm.bench.child import Laps, answer, high_water_megabytes, options, startup_seconds
from qfedfm.engine.environment import environment
from qfedfm.engine.experiment import Experiment


def main() -> None:
    """Times every round but the first, and reads the most memory that the process has held."""
    given = options()
    experiment = Experiment.of(given["experiment"])
    rounds = experiment.rounds(task=experiment.build_task())
    next(rounds)  # the untrained model
    startup, before, laps = startup_seconds(given), high_water_megabytes(), Laps()
    for _ in rounds:
        laps.lap()
    answer(
        startup_seconds=startup,
        round_seconds=laps.seconds[1:],
        megabytes=high_water_megabytes(),
        megabytes_before=before,
        environment=environment({}),
    )


if __name__ == "__main__":
    main()
