"""Runs that are played together: what they share is done once, and costs each of them its part."""

import gc
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest

from qfedfm.clients.jobs import Trained
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core.errors import DataError
from qfedfm.core.stack import Bound
from qfedfm.engine.memories import Memories
from qfedfm.engine.rounds import open_round
from qfedfm.engine.uplink import Uplink
from qfedfm.engine.waves import begin, next_round, play_wave
from tests.engine.test_rounds import bench
from tests.engine.test_run import without_times
from tests.engine.tiny import SETTINGS

COMPARED = {
    "mean": {"reduce": "mean"},
    "median": {"reduce": "median", "layers": ["bfloat16"]},
    "adam": {"reduce": "mean", "server": "adam"},
    "slow": {"reduce": "mean", "training": {"rate": 0.01}},
    "scaffold": {"reduce": "mean", "local": "scaffold"},
    "prox": {"reduce": "mean", "local": {"name": "fedprox", "mu": 0.5}},
    "near": {"reduce": "mean", "local": {"name": "fedprox", "mu": 0}},
}
TRAIN_ALIKE = ("mean", "median", "adam", "scaffold", "near")
"""In the first round: SCAFFOLD's controls are zero then, and FedProx with μ = 0 is FedAvg."""


def settings(seeds=(1, 2), **changes):
    made = bench(compare=COMPARED, **changes)
    arms = {name: made.experiment.arm(name) for name in COMPARED}
    return made.engine, {(name, seed): made.setting(arm, seed, 3) for seed in seeds for name, arm in arms.items()}


@pytest.fixture
def seen(monkeypatch):
    """The jobs and the queries that the engine was asked for, a list for each call."""
    jobs, queries = [], []
    train, outputs = SequentialEngine.train, SequentialEngine.outputs

    def training(self, given):
        jobs.append(list(given))
        return train(self, given)

    def looking(self, given):
        queries.append(list(given))
        return outputs(self, given)

    monkeypatch.setattr(SequentialEngine, "train", training)
    monkeypatch.setattr(SequentialEngine, "outputs", looking)
    return jobs, queries


@pytest.mark.parametrize("attack", ["label-flip", "alie"])
def test_what_runs_share_is_done_once(seen, attack):
    engine, found = settings(hostile={"clients": 2, "attack": attack})
    runs, (jobs, queries) = list(found.values()), seen
    states = begin(engine, runs)
    assert len(queries) == 1
    assert len(queries[0]) == 2, "the untrained model of each seed"
    states = play_wave(engine, list(zip(runs, states, strict=True)))
    apart = len(COMPARED) - len(TRAIN_ALIKE) + 1
    assert len(jobs) == 1
    assert len(jobs[0]) == 2 * apart * 6
    assert len({job.group for job in jobs[0]}) == 2 * apart
    # the mean, SCAFFOLD and FedProx with μ = 0 have the same model after one round
    assert len(queries[1]) == 2 * (len(COMPARED) - 2)
    play_wave(engine, list(zip(runs, states, strict=True)))
    assert len(jobs[1]) == 2 * (len(COMPARED) - 1) * 6, "μ = 0 goes on like the mean"


def test_runs_that_are_played_together_come_to_the_bits_of_those_played_alone():
    engine, found = settings(hostile={"clients": 2, "attack": "sign-flip"}, participation={"late": 0.2, "dropout": 0.2})
    runs = list(found.values())
    together = begin(engine, runs)
    for _ in range(3):
        together = play_wave(engine, list(zip(runs, together, strict=True)))
    _, again = settings(hostile={"clients": 2, "attack": "sign-flip"}, participation={"late": 0.2, "dropout": 0.2})
    for setting, state in zip(again.values(), together, strict=True):
        (alone,) = begin(setting.engine, [setting])
        for _ in range(3):
            alone = next_round(setting, alone)
        assert np.array_equal(alone.model, state.model)
        assert without_times(list(alone.history)) == without_times(list(state.history))


class Clockwork:
    """An engine that takes a second for each row that it trains on, and no time for anything else."""

    def __init__(self, engine, monkeypatch):
        self.layout, self.outputs = engine.layout, engine.outputs
        self.gradient, self.plan, self.now = engine.gradient, engine.plan, 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def train(self, jobs):
        for job in jobs:
            self.now += sum(map(len, job.rows))
            yield Trained(job.client, np.full(self.layout.size, 1e-3, np.float32), np.zeros(len(job.rows)), {})


def test_seconds_are_shared_by_rows_and_add_up_to_the_time_that_passed(monkeypatch):
    engine, found = settings(seeds=(1,))
    states = begin(engine, list(found.values()))
    clockwork = Clockwork(engine, monkeypatch)
    states = play_wave(clockwork, list(zip(found.values(), states, strict=True)))
    spent = {name: state.history[-1]["train_seconds"] for (name, _), state in zip(found, states, strict=True)}
    rows = 6 * 3 * 8
    assert clockwork.now == 3 * rows
    for name in COMPARED:
        assert spent[name] == pytest.approx(rows / len(TRAIN_ALIKE) if name in TRAIN_ALIKE else rows)
    assert sum(spent.values()) == pytest.approx(clockwork.now)
    assert {state.history[-1]["server_seconds"] for state in states} == {0.0}


@pytest.mark.parametrize(
    ("attack", "most"), [(None, 2), ("sign-flip", 2), ("gaussian", 2), ("label-flip", 2), ("ipm", 6)]
)
def test_no_more_updates_are_held_than_an_attack_needs_to_see(monkeypatch, attack, most):
    made = bench(hostile={"clients": 2, "attack": attack} if attack else None)
    setting = made.setting(made.experiment.arm("mean"), 1, 3)
    (state,) = begin(made.engine, [setting])
    held, alive, train = [], [], SequentialEngine.train

    def watched(self, jobs):
        for trained in train(self, jobs):
            held.append(weakref.ref(trained.delta))
            yield trained
            del trained
            gc.collect()
            alive.append(sum(reference() is not None for reference in held))

    monkeypatch.setattr(SequentialEngine, "train", watched)
    next_round(setting, state)
    assert len(held) == 6
    assert max(alive) <= most
    assert (max(alive) > 2) == (most > 2)


def test_late_answers_and_those_on_time_are_added_in_the_order_of_the_clients(monkeypatch):
    made = bench()
    setting = made.setting(made.experiment.arm("mean"), 1, 3)
    (state,) = begin(made.engine, [setting])
    other = Uplink(setting, Memories(setting, state), state, frozenset({0, 2, 5}), 0, {})
    for client in (0, 2, 5):
        other.send(client, np.full(15, client, np.float32))
    decoded = []

    def receive(self, payload, mirror, at, *keys):  # as if late answers were not refused
        decoded.append(at.client)
        return np.zeros(15, np.float32), mirror

    monkeypatch.setattr(Bound, "receive", receive)
    uplink = Uplink(setting, Memories(setting, state), replace(state, late=other.late), frozenset(), 3, {})
    for client in (1, 3, 4):
        uplink.send(client, np.zeros(15, np.float32))
    uplink.close()
    assert decoded == uplink.participants == [0, 1, 2, 3, 4, 5]
    assert uplink.collector.count == 6


def test_an_update_out_of_turn_is_refused():
    made = bench()
    setting = made.setting(made.experiment.arm("mean"), 1, 3)
    opened = open_round(setting, begin(made.engine, [setting])[0])
    first, second, *rest = made.engine.train(opened.jobs)
    with pytest.raises(DataError, match="client 1; expected that of client 0"):
        opened.accept(second)
    for trained in (first, second, *rest):
        opened.accept(trained)
    with pytest.raises(DataError, match="client 5; expected that of client None"):
        opened.accept(rest[-1])


def test_steps_are_counted():
    made = bench(training={**SETTINGS["training"], "steps": 5}, participation={"clients_per_round": 4})
    setting = made.setting(made.experiment.arm("mean"), 1, 3)
    (state,) = begin(made.engine, [setting])
    assert next_round(setting, state).history[-1]["client_steps"] == 20
