"""Runs a comparison: methods × seeds, each a chain of rounds with a checkpoint after every one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from qfedfm.adapters.tensors import vector_of
from qfedfm.clients.attack import Attack
from qfedfm.clients.jobs import ClientEngine
from qfedfm.core.cohort import ClientId
from qfedfm.core.errors import ConfigError, DataError, StackError
from qfedfm.core.key import Key
from qfedfm.core.progress import Event, Watch, silent
from qfedfm.core.stack import bind
from qfedfm.engine.arm import Arm
from qfedfm.engine.environment import environment
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.files import write_folder, writing
from qfedfm.engine.folder import Folder
from qfedfm.engine.machine import client_engine
from qfedfm.engine.result import Result
from qfedfm.engine.results import assemble, client_lines, run_line
from qfedfm.engine.rounds import Setting, next_round, start
from qfedfm.engine.state import RunState
from qfedfm.engine.tune import candidates, tune
from qfedfm.tasks.protocol import Split, Task


@dataclass(frozen=True)
class Round:
    """One round as a notebook sees it: the record that ``history.jsonl`` would hold, and the model after it."""

    number: int
    record: Mapping[str, Any]
    model: Float32[np.ndarray, " d"]


@dataclass(frozen=True)
class Bench:
    """A task with the engine that trains it: what all methods and seeds of an experiment share."""

    experiment: Experiment
    task: Task
    engine: ClientEngine
    epoch: int = 0

    def setting(self, arm: Arm, seed: int, rounds: int) -> Setting:
        """One run of a method on a seed."""
        key = Key.of(seed)
        split = self.task.split(key.fold("split"))
        _require_rows(split)
        hostile, attack = self._hostile(split, key)
        participation = self.experiment.participation
        invited, validation = participation.cohort(len(split.clients)), len(split.validation)
        bound = bind(arm.aggregator, self.engine.layout, split.clients, cohort=invited, validation=validation)
        equal = len({arm.training.steps_for(len(rows)) for rows in split.train.values()}) == 1
        same_weight = len({len(rows) for rows in split.train.values()}) == 1
        arm.local.check(arm.training.optimizer, equal_work=equal and same_weight)
        return Setting(
            arm, bound, self.task, split, self.engine, key, hostile, attack, participation, rounds, self.epoch
        )

    def _hostile(self, split: Split, key: Key) -> tuple[frozenset[ClientId], Attack | None]:
        hostile = self.experiment.hostile
        if hostile is None or hostile.clients in (0, ()):
            return frozenset(), None
        count = hostile.clients if isinstance(hostile.clients, int) else len(hostile.clients)
        if count >= len(split.clients):
            raise ConfigError(f"{count} hostile clients of {len(split.clients)}", "at least one honest client")
        if isinstance(hostile.clients, int):
            drawn = key.fold("hostile").numpy().choice(split.clients, count, replace=False)
            return frozenset(int(client) for client in drawn), hostile.build()
        unknown = set(hostile.clients) - set(split.clients)
        if unknown:
            raise ConfigError(f"hostile client {min(unknown)}", f"ids of clients, {split.clients}")
        return frozenset(hostile.clients), hostile.build()

    def first(self, setting: Setting) -> RunState:
        """The state before the first round: an adapter drawn from the seed."""
        return start(setting, vector_of(self.task.model(setting.key.fold("adapter"))))


def play(experiment: Experiment, method: str, seed: int, task: Task | None = None) -> Iterator[Round]:
    """One method on one seed, a round at a time, in memory."""
    if method not in experiment.methods:
        raise ConfigError(f"method {method!r}", f"one of {', '.join(experiment.methods)}")
    task = task or experiment.build_task()
    bench = Bench(experiment, task, client_engine(experiment.engine, task))
    setting = bench.setting(experiment.arm(method), seed, experiment.total_rounds)
    state = bench.first(setting)
    yield Round(0, state.history[-1], state.model)
    while state.round < setting.rounds:
        state = next_round(setting, state)
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
    return _Session(bench, folder, watch).run()


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


def _require_rows(split: Split) -> None:
    """Raises a DataError where a client has nothing to train on, or nobody has anything to be tested on."""
    for client in split.clients:
        if not len(split.train[client]):
            given = f"client {client} ({split.names[client]}) without training rows"
            raise DataError(given, "at least one row for every client", "take fewer clients or bring more data")
    if not any(len(rows) for rows in split.test.values()):
        raise DataError("a split without test rows", "at least one", "bring more data")


class _Session:
    """One session of a run: what is finished so far, and the count for whoever watches."""

    def __init__(self, bench: Bench, folder: Folder, watch: Watch) -> None:
        self.bench, self.folder, self.watch = bench, folder, watch
        self.experiment = bench.experiment
        self.order = [(seed, method) for seed in self.experiment.seeds for method in self.experiment.methods]
        self.done, self.total = 0, len(self.order) * self.experiment.total_rounds
        if self.experiment.tune is not None:
            trials = sum(map(len, candidates(self.experiment.tune, list(self.experiment.methods)).values()))
            self.total += trials * len(self.experiment.tune.seeds) * self._trial_rounds()

    def _trial_rounds(self) -> int:
        tuning = self.experiment.tune
        return (tuning.rounds if tuning is not None else None) or self.experiment.total_rounds

    def run(self) -> Result:
        """Tunes, plays every run to its end, and writes results and report."""
        tuning = self._tune() if self.experiment.tune is not None else None
        chosen = tuning["chosen"] if tuning else {}
        arms = {method: self.experiment.arm(method, chosen.get(method)) for method in self.experiment.methods}
        found = {(seed, method): self.folder.load(method, seed) for seed, method in self.order}
        kept = [(method, seed, state) for (seed, method), state in found.items() if state]
        self.folder.rewrite_history([_line(method, seed, r) for method, seed, state in kept for r in state.history])
        finished = sum(state.round == self.experiment.total_rounds for _, _, state in kept)
        lines: list[dict[str, Any]] = []
        clients: dict[str, Any] = {}
        for seed, method in self.order:
            setting = self.bench.setting(arms[method], seed, self.experiment.total_rounds)
            clients = clients or client_lines(setting)
            state = self._finish(setting, seed, found[seed, method])
            lines.append(run_line(setting, seed, state, arms, self._save_adapter(method, seed, state)))
            if len(lines) >= finished:  # a resumed session never replaces the results by fewer
                self._write(lines, clients, tuning)
        self.watch(Event("report", done=self.total, total=self.total))
        result = Result(self.folder.path)
        with writing(self.folder.path / "report.html"):
            result.write_report()
        return result

    def _finish(self, setting: Setting, seed: int, state: RunState | None) -> RunState:
        method = setting.arm.name
        if state is None:
            state = self.bench.first(setting)
            self.folder.append_history(_line(method, seed, state.history[0]))
        self.done += state.round
        while state.round < setting.rounds:
            state = next_round(setting, state)
            self.folder.save(method, seed, state)
            self.folder.append_history(_line(method, seed, state.history[-1]))
            self.done += 1
            self.watch(Event("round", method, seed, self.done, self.total, state.history[-1]))
        return state

    def _tune(self) -> dict[str, Any]:
        known = self.folder.tuning()
        self.done += len(known) * self._trial_rounds()
        return tune(self.experiment, self._score, known, self.folder.write_tuning)

    def _score(self, method: str, settings: Mapping[str, Any], seed: int) -> float:
        arm = self.experiment.arm(method, settings)
        setting = replace(self.bench.setting(arm, seed, self._trial_rounds()), test=False)
        state = self.bench.first(setting)
        while state.round < setting.rounds:
            state = next_round(setting, state)
            self.done += 1
            self.watch(Event("tune", method, seed, self.done, self.total, state.history[-1]))
        return float(state.history[-1]["tuning_accuracy"])

    def _save_adapter(self, method: str, seed: int, state: RunState) -> str | None:
        save = getattr(self.bench.task, "save_adapter", None)
        if save is None:
            return None
        path = self.folder.adapter(method, seed)
        if not path.exists():
            write_folder(path, lambda beside: save(state.model, beside))
        return path.relative_to(self.folder.path).as_posix()

    def _write(self, lines: list[dict[str, Any]], clients: Mapping[str, Any], tuning: dict[str, Any] | None) -> None:
        about = {**environment(self.bench.engine.plan()), "config_hash": self.experiment.digest}
        complete = len(lines) == len(self.order)
        self.folder.write_results(assemble(self.experiment.settings, about, lines, clients, tuning, complete))


def _line(method: str, seed: int, record: Mapping[str, Any]) -> dict[str, Any]:
    return {"method": method, "seed": seed, **record}
