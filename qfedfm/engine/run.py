"""Runs a comparison: methods × seeds, played round by round together, with a checkpoint after every round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.progress import Event, Watch, silent
from qfedfm.engine.environment import commit, versions
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.files import writing
from qfedfm.engine.folder import Folder
from qfedfm.engine.interrupt import heard
from qfedfm.engine.keysources import Links
from qfedfm.engine.lock import locked
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


def play(
    experiment: Experiment, method: str, seed: int, task: Task | None = None, links: Links | None = None
) -> Iterator[Round]:
    """One method on one seed, a round at a time, in memory."""
    if method not in experiment.methods:
        raise ConfigError(f"method {method!r}", f"one of {', '.join(experiment.methods)}")
    task = task or experiment.build_task()
    bench = Bench.build(experiment, task, [seed], None, 0, links)
    setting = bench.setting(experiment.arm(method), seed, experiment.total_rounds)
    (state,) = begin(bench.engine, [setting])
    yield Round(0, state.history[-1], state.model)
    while state.round < setting.rounds:
        before, state = state, next_round(setting, state)
        setting.states.remove(superseded(before, state))
        yield Round(state.round, state.history[-1], state.model)


def run(
    experiment: Experiment,
    out: Path,
    *,
    resume: bool = False,
    task: Task | None = None,
    watch: Watch = silent,
    links: Links | None = None,
) -> Result:
    """Runs all methods on all seeds; see `Experiment.run`."""
    folder = Folder(out, experiment.digest if task is None else f"{experiment.digest}-{task.name}")
    with ExitStack() as lock:
        watch = lock.enter_context(heard(watch))
        with writing(out):
            new = not out.is_dir()
        if not new:
            lock.enter_context(locked(out))
        known = folder.claim(resume)
        bench = _prepare(experiment, task, known, watch, links)
        if new:
            folder.create()
            lock.enter_context(locked(out))
            folder.claim(resume=False)  # another process may have been as quick
        plan, made = dict(bench.engine.plan()), {"commit": commit(), "packages": versions()}
        folder.note({"made": made, **known, "epoch": bench.epoch, "plan": plan})
        return Session(bench, folder, watch).run()


def _prepare(
    experiment: Experiment, task: Task | None, known: Mapping[str, Any], watch: Watch, links: Links | None
) -> Bench:
    """Model, data and engine, after all that can be checked without them; ``known`` is the note of earlier sessions."""
    if experiment.tune is not None:
        for method, settings in candidates(experiment.tune, list(experiment.methods)).items():
            for choice in settings:
                _try(experiment, method, choice)
    for difference in _differences(known.get("made")):
        watch(Event("warning", note=difference))
    watch(Event("prepare"))
    task = task or experiment.build_task()
    seeds = (*experiment.seeds, *(experiment.tune.seeds if experiment.tune is not None else ()))
    bench = Bench.build(experiment, task, seeds, known.get("plan"), known.get("epoch", -1) + 1, links)
    _check(bench)
    return bench


def _differences(made: Any) -> list[str]:
    """A line when the run was begun by another commit or with other versions of what its numbers depend on."""
    if not isinstance(made, dict) or not isinstance(made.get("packages"), dict):
        return []
    now, then = {"commit": commit(), **versions()}, {"commit": made.get("commit"), **made["packages"]}
    changed = [
        f"{name} {_short(then.get(name))} then, {_short(now.get(name))} now"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]
    return [f"this run was begun with other software: {'; '.join(changed)}"] if changed else []


def _short(version: Any) -> str:
    text = str(version or "unknown")
    return text if len(text) < 40 else text[:7] + text[40:]


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
