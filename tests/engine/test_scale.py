"""A round of a few sampled out of very many clients costs no more than a round of as few clients."""

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from qfedfm.engine.experiment import Experiment
from qfedfm.engine.setting import Bench
from qfedfm.engine.waves import begin, next_round
from qfedfm.tasks.protocol import Split
from tests.engine.tiny import SETTINGS, TinyTask


class Generated(TinyTask):
    """As many clients as wished, with eight of a few rows each; the first one has all test rows."""

    population = 100

    def split(self, key):
        clients, none = range(self.population), np.zeros(0, np.int64)
        train = {client: np.arange(8) + 7 * client % 150 for client in clients}
        test = {client: np.arange(200, 240) if client == 0 else none for client in clients}
        return Split(train, test, none, none, {client: f"client {client}" for client in clients})


def made(population, **changes):
    settings = {**SETTINGS, "rounds": 50, "participation": {"clients_per_round": 20, "dropout": 0.1}, **changes}
    experiment, task = Experiment.of(settings), Generated()
    task.population = population
    bench = Bench.build(experiment, task, [1], None, 0)
    setting = bench.setting(experiment.arm(next(iter(experiment.methods))), 1, 50)
    return setting, begin(bench.engine, [setting])[0]


class Watched(Mapping):
    """A table that counts how many of its entries are gone through."""

    def __init__(self, table):
        self.table, self.steps = table, 0

    def __getitem__(self, key):
        return self.table[key]

    def __len__(self):
        return len(self.table)

    def __iter__(self):
        for key in self.table:
            self.steps += 1
            yield key


class Population(tuple):
    """Client ids that must not be gone through."""

    def __iter__(self):
        raise AssertionError("all client ids were looked at")

    def __contains__(self, client):
        raise AssertionError("all client ids were looked at")


@pytest.mark.parametrize("local", ["fedavg", "scaffold"])
def test_a_round_looks_at_the_invited_only(local):
    setting, state = made(10_000, method={"local": local}, hostile={"clients": 3})
    tables = [Watched(table) for table in (setting.split.train, setting.split.test, setting.split.names)]
    split = replace(setting.split, train=tables[0], test=tables[1], names=tables[2])
    drawn = replace(setting.drawn, split=split, clients=Population(setting.drawn.clients))
    for name in ("tested", "sizes", "adapter"):  # made once for a seed
        drawn.__dict__[name] = getattr(setting.drawn, name)
    bound = replace(setting.bound, population=drawn.clients)
    setting = replace(setting, drawn=drawn, bound=bound)
    for _ in range(3):
        state = next_round(setting, state)
    assert state.history[-1]["participants"]
    assert sum(table.steps for table in tables) < 500  # the checks of the annotations look at one of each table


def test_a_round_costs_what_its_cohort_costs():
    runs, ratios = [made(20), made(20_000)], []
    for _ in range(15):
        times = []
        for place in (0, 1):
            clock = time.process_time()
            runs[place] = (runs[place][0], next_round(*runs[place]))
            times.append(time.process_time() - clock)
        ratios.append(times[1] / times[0])
    assert np.median(ratios) < 1.3
