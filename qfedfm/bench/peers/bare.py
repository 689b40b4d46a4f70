"""A bare loop of PyTorch and peft: one client after the other, then the mean."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from qfedfm.bench.child import Laps, answer, options, startup_seconds
from qfedfm.bench.peers.plain import Values, average, evaluate, load, prepared, train, values
from qfedfm.bench.workload import Federation


def fastest_threads(work: Callable[[], object]) -> int:
    """The number of threads, one or all cores, with which the faster of two calls of ``work`` takes less time."""
    work()
    seconds: dict[int, float] = {}
    for threads in sorted({1, os.cpu_count() or 1}) * 2:
        torch.set_num_threads(threads)
        begin = time.perf_counter()
        work()
        seconds[threads] = min(seconds.get(threads, math.inf), time.perf_counter() - begin)
    return min(seconds, key=lambda threads: seconds[threads])


def main() -> None:
    """All rounds of every seed, or repeated evaluation of the untrained model."""
    given = options()
    federation = Federation.of(given["experiment"])
    model = prepared(federation, given["precision"])
    trial = federation.rows(1, federation.clients[0])
    torch.set_num_threads(fastest_threads(lambda: train(model, federation, trial)))
    if "evaluate" in given:
        _evaluation(model, federation, given)
        return
    runs = [(one, values(one.model())) for one in map(federation.of_seed, given["experiment"]["seeds"])]
    startup, seconds, losses, accuracy = startup_seconds(given), [], [], 0.0
    for one, first in runs:
        found = _rounds(model, one, first)
        seconds += found[0]
        losses += found[1]
        accuracy = found[2]
    answer(
        startup_seconds=startup, round_seconds=seconds, client_steps=federation.client_steps * len(runs),
        train_losses=losses, accuracy=accuracy, threads=torch.get_num_threads(),
    )  # fmt: skip


def _rounds(model: torch.nn.Module, federation: Federation, current: Values) -> tuple[list[float], list[float], float]:
    """Seconds and training loss of each round, and the accuracy in the end."""
    laps, losses, accuracy = Laps(), [], 0.0
    for round_ in range(1, federation.rounds + 1):
        updates, found = [], []
        for client in federation.clients:
            load(model, current)
            found.append(train(model, federation, federation.rows(round_, client)))
            updates.append(values(model))
        current = average(updates, [federation.samples(client) for client in federation.clients])
        load(model, current)
        accuracy = evaluate(model, federation, federation.test)
        losses.append(float(np.mean(found)))
        laps.lap()
    return laps.seconds, losses, accuracy


def _evaluation(model: torch.nn.Module, federation: Federation, given: dict[str, Any]) -> None:
    rows = np.arange(given["evaluate"])
    evaluate(model, federation, rows[:64])
    startup, laps = startup_seconds(given), Laps()
    for _ in range(3):
        evaluate(model, federation, rows)
        laps.lap()
    answer(startup_seconds=startup, round_seconds=laps.seconds, rows=len(rows), threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
