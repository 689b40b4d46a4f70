"""A wave: the same round of several runs, trained, stepped and evaluated together, with shared work done once."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from qfedfm.clients.jobs import ClientEngine, Job, Query, Trained
from qfedfm.core.phases import phase
from qfedfm.engine.rounds import OpenRound, Outputs, open_round, start, untrained
from qfedfm.engine.setting import Setting
from qfedfm.engine.splitround import SplitRound, start_split
from qfedfm.engine.stages import handed_over
from qfedfm.engine.state import RunState


def begin(engine: ClientEngine, settings: Sequence[Setting]) -> list[RunState]:
    """The states of several runs before their first round; the untrained model of a seed is evaluated once."""
    answers = _answer(engine, [untrained(setting) for setting in settings])
    return [_start(setting, outputs) for setting, outputs in zip(settings, answers, strict=True)]


def _start(setting: Setting, outputs: Sequence[Outputs]) -> RunState:
    if setting.federation is not None:
        return start_split(setting, setting.federation, outputs)
    return start(setting, outputs)


def play_wave(engine: ClientEngine, runs: Sequence[tuple[Setting, RunState]]) -> list[RunState]:
    """One round of each run: all jobs in one call of the engine, each server's step, then all models evaluated.

    A run's numbers do not depend on the others, as far as the engine keeps groups apart: runs share training only where
    all their jobs are equal.
    """
    opened = [_open(setting, state, group) for group, (setting, state) in enumerate(runs)]
    _train(engine, opened)
    answers = _answer(engine, [one.queries for one in opened])
    return [one.close(outputs) for one, outputs in zip(opened, answers, strict=True)]


def _open(setting: Setting, state: RunState, group: int) -> OpenRound | SplitRound:
    if setting.federation is not None:
        return SplitRound(setting, setting.federation, state)
    stage = setting.of(state.round + 1)
    return open_round(stage, handed_over(state, setting.of(state.round), stage), group)


def next_round(setting: Setting, state: RunState) -> RunState:
    """One round of one run: broadcast, local training, attack, encode, decode, reduce, server step, evaluation."""
    return play_wave(setting.engine, [(setting, state)])[0]


def _train(engine: ClientEngine, opened: Sequence[OpenRound | SplitRound]) -> None:
    """Trains the jobs of all rounds, equal lists of jobs once, and hands each result on as it comes.

    A server steps as soon as its clients are done, so that the updates of one run are gone before the next run's come.

    The time that the engine takes is charged by rows: a list of jobs costs its share of all rows trained, divided
    evenly among the runs that share it. The sum over the runs is the time that has passed.
    """
    alike = _alike([one.jobs for one in opened])
    clock = time.perf_counter()
    with phase("train"):
        trained = iter(engine.train([job for members in alike for job in opened[members[0]].jobs]))
    spent = time.perf_counter() - clock
    for members in alike:
        for _ in opened[members[0]].jobs:
            clock = time.perf_counter()
            with phase("train"):
                result: Trained = next(trained)
            spent += time.perf_counter() - clock
            for member in members:
                opened[member].accept(result)
        for member in members:
            opened[member].step()
    rows = [sum(len(batch) for job in opened[members[0]].jobs for batch in job.rows) for members in alike]
    for members, share in zip(alike, rows, strict=True):
        for member in members:
            opened[member].charge(spent * share / max(sum(rows), 1) / len(members))


def _alike(jobs: Sequence[Sequence[Job]]) -> list[list[int]]:
    """Positions of the runs whose lists of jobs are equal, together; in the order of the first of each."""
    found: list[list[int]] = []
    for place, mine in enumerate(jobs):
        for members in found:
            if _same_jobs(mine, jobs[members[0]]):
                members.append(place)
                break
        else:
            found.append([place])
    return found


def _same_jobs(a: Sequence[Job], b: Sequence[Job]) -> bool:
    if not a or len(a) != len(b) or not _same(a[0].start, b[0].start):
        return False
    return all(_same_job(x, y, a[0], b[0]) for x, y in zip(a, b, strict=True))


def _same_job(x: Job, y: Job, first_x: Job, first_y: Job) -> bool:
    """Whether two jobs ask for the same, whatever their group; all jobs of a run start from one array."""
    known = x.start is first_x.start and y.start is first_y.start
    return (
        (x.client, x.optimizer, x.proximal, x.dropout, x.relabel)
        == (y.client, y.optimizer, y.proximal, y.dropout, y.relabel)
        and (known or _same(x.start, y.start))
        and len(x.rows) == len(y.rows)
        and all(_same(mine, yours) for mine, yours in zip(x.rows, y.rows, strict=True))
        and _same(x.rates, y.rates)
        and (x.correction is None) == (y.correction is None)
        and (x.correction is None or y.correction is None or _same(x.correction, y.correction))
        and x.state.keys() == y.state.keys()
        and all(_same(np.asarray(value), np.asarray(y.state[name])) for name, value in x.state.items())
    )


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are equal to the last bit; most that differ do so at their beginning."""
    if a is b:
        return True
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return a.reshape(-1)[:64].tobytes() == b.reshape(-1)[:64].tobytes() and a.tobytes() == b.tobytes()


def _answer(engine: ClientEngine, queries: Sequence[Sequence[Query]]) -> list[list[Outputs]]:
    """The outputs for the queries of several runs; equal models on equal rows are evaluated once."""
    different: list[Query] = []
    places: list[list[int]] = []
    for mine in queries:
        places.append([])
        for query in mine:
            known = (i for i, q in enumerate(different) if _same(q.rows, query.rows) and _same(q.vector, query.vector))
            place = next(known, len(different))
            different += [query] if place == len(different) else []
            places[-1].append(place)
    with phase("evaluate"):
        outputs = engine.outputs(different) if different else []
    return [[outputs[place] for place in mine] for mine in places]
