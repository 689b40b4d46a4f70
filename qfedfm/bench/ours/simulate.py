"""One method on one seed, a round at a time, as a notebook runs it: wire, reduce and evaluation included."""

from __future__ import annotations

from qfedfm.bench.child import Laps, answer, options, startup_seconds
from qfedfm.engine.environment import environment
from qfedfm.engine.experiment import Experiment


def main() -> None:
    """Times every round."""
    given = options()
    experiment = Experiment.of(given["experiment"])
    rounds = experiment.rounds(task=experiment.build_task())
    record = next(rounds).record  # the untrained model
    startup, laps, losses, steps = startup_seconds(given), Laps(), [], 0
    for one in rounds:
        laps.lap()
        record = one.record
        losses.append(record["train_loss"])
        steps += len(record["participants"]) * (experiment.training.steps or 0)
    answer(
        startup_seconds=startup, round_seconds=laps.seconds, client_steps=steps,
        train_losses=losses, accuracy=record["accuracy"], environment=environment({}),
    )  # fmt: skip


if __name__ == "__main__":
    main()
