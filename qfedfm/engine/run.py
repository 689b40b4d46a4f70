"""Runs a comparison: methods × seeds, played round by round together, with a checkpoint after every round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.progress import Event, Watch, silent
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.folder import Folder
from qfedfm.engine.machine import client_engine
from qfedfm.engine.result import Result
from qfedfm.engine.session import Session
from qfedfm.engine.setting import Bench
from qfedfm.engine.state import superseded
from qfedfm.engine.tune import candidates
from qfedfm.engine.waves import begin, next_round
from qfedfm.tasks.protocol import Task


@dataclass(frozen=True)
class Round:
    """One round as a notebook sees it: the record that ``history.jsonl`` would hold, and the model after it."""

    number: int
    record: Mapping[str, Any]
    model: Float32[np.ndarray, " d"]


def play(experiment: Experiment, method: str, seed: int, task: Task | None = None) -> Iterator[Round]:
    """One method on one seed, a round at a time, in memory."""
    if method not in experiment.methods:
        raise ConfigError(f"method {method!r}", f"one of {', '.join(experiment.methods)}")
    task = task or experiment.build_task()
    bench = Bench(experiment, task, client_engine(experiment.engine, task))
    setting = bench.setting(experiment.arm(method), seed, experiment.total_rounds)
    (state,) = begin(bench.engine, [setting])
    yield Round(0, state.history[-1], state.model)
    while state.round < setting.rounds:
        before, state = state, next_round(setting, state)
        setting.states.remove(superseded(before, state))
        yield Round(state.round, state.history[-1], state.model)


def run(
    experiment: Experiment, out: Path, *, resume: bool = False, task: Task | None = None, watch: Watch = silent
) -> Result:
    """Runs all methods on all seeds; see `Experiment.run`."""
    folder = Folder(out, experiment.digest if task is None else f"{experiment.digest}-{task.name}")
    known = folder.claim(resume)
    if experiment.tune is not None:
        for method, settings in candidates(experiment.tune, list(experiment.methods)).items():
            for choice in settings:
                _try(experiment, method, choice)
    watch(Event("prepare"))
    task = task or experiment.build_task()
    engine = client_engine(experiment.engine, task, known.get("plan"))
    bench = Bench(experiment, task, engine, known.get("epoch", -1) + 1)
    _check(bench)
    folder.note({"epoch": bench.epoch, "plan": dict(engine.plan())})
    return Session(bench, folder, watch).run()


def _try(experiment: Experiment, method: str, choice: Mapping[str, Any]) -> None:
    """Builds a method with settings of the tuning grid."""
    try:
        experiment.arm(method, choice)
    except (ConfigError, StackError) as error:
        given = f"[tune] for {method}: {error.given}"
        raise ConfigError(given, error.expected, error.remedy or "change tune.grid or tune.own") from None


def _check(bench: Bench) -> None:
    """Whatever would stop a later run of the session stops it now, before there is anything to lose."""
    experiment, tune_table = bench.experiment, bench.experiment.tune
    for method in experiment.methods:
        bench.setting(experiment.arm(method), experiment.seeds[0], experiment.total_rounds)
    first = experiment.arm(next(iter(experiment.methods)))
    for seed in (*experiment.seeds[1:], *(tune_table.seeds if tune_table is not None else ())):
        setting = bench.setting(first, seed, experiment.total_rounds)
        if tune_table is not None and not len(setting.split.tuning):
            raise ConfigError("a [tune] table and a task without tuning rows", "task.tuning above 0")
