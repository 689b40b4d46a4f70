"""A model for each cluster: clients that learn opposite things are parted, trained and tested with their own."""

import itertools
from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest

from qfedfm.clients.jobs import Query
from qfedfm.core.cohort import Personal
from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.layout import Layout
from qfedfm.engine.clusters import Clusters
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.machine import client_engine
from qfedfm.engine.setting import Bench
from qfedfm.engine.state import load, save
from qfedfm.engine.waves import begin, next_round
from qfedfm.server.sgd import Sgd
from tests.engine.test_run import without_times
from tests.engine.tiny import SETTINGS, TinyTask


class Opposed(TinyTask):
    """All clients see all classes, but every second one calls them by other names."""

    @cached_property
    def data(self):
        points, labels = TinyTask.data.func(self)
        odd = np.arange(len(labels)) % 2 == 1
        return points, np.where(odd, (labels + 1) % self.classes, labels)

    def split(self, key):
        rows = key.numpy().permutation(len(self.data[1]))[self.validation + self.tuning :]
        halves = [np.array_split(rows[rows % 2 == parity], self.clients // 2) for parity in (0, 1)]
        parts = {client: np.sort(halves[client % 2][client // 2]) for client in range(self.clients)}
        train = {client: part[::2] for client, part in parts.items()}
        test = {client: part[1::2] for client, part in parts.items()}
        return replace(super().split(key), train=train, test=test)


def make(**options):
    return Opposed(**options)


def play(rounds=6, reduce="cosine-cluster", options=None, **changes):
    method = {"reduce": {"name": reduce, "models": "each", "margin": 0.1, **(options or {})}}
    task = {"kind": "python", "factory": "tests.engine.test_clusters:make"}
    experiment = Experiment.of({**SETTINGS, "task": task, "method": method, **changes})
    made = Bench(experiment, experiment.build_task(), client_engine(experiment.engine, experiment.build_task()))
    setting = made.setting(experiment.arm(reduce), 1, rounds)
    states = begin(made.engine, [setting])
    for _ in range(rounds):
        states.append(next_round(setting, states[-1]))
    return setting, states


@pytest.mark.parametrize(
    ("reduce", "options"), [("cosine-cluster", {}), ("fidelity-cluster", {"qubits": 4, "margin": 0.05})]
)
def test_clients_that_learn_opposite_things_get_a_model_for_each_group(reduce, options):
    _, states = play(8, reduce, options)
    assert states[1].clusters == Clusters()
    labels = states[-1].clusters.members
    assert {labels[client] for client in (0, 2, 4)} != {labels[client] for client in (1, 3, 5)}
    assert len(set(labels.values())) == 2
    common, own = states[1].history[-1], states[-1].history[-1]
    assert own["accuracy"] > common["accuracy"] + 0.25
    assert own["worst_client"] > 0.6
    assert own["clusters"] == {str(client): client % 2 for client in range(6)}
    if reduce == "fidelity-cluster":
        circuits = [state.history[-1]["diagnostics"].get("circuits", 0) for state in states[1:]]
        assert circuits[1] > 0
        assert sum(circuits) == circuits[1]  # nothing is measured once everybody has a cluster


def test_each_cluster_is_trained_and_tested_by_hand():
    setting, states = play(4)
    before, after = states[2], states[3]
    engine, split = setting.engine, setting.split
    for client in split.clients:
        model = after.clusters.of(client, after.model)
        (outputs,) = engine.outputs([Query(model, split.test[client])])
        expected = (outputs.argmax(1) == setting.task.data[1][split.test[client]]).mean()
        assert after.history[-1]["client_accuracy"][str(client)] == pytest.approx(expected)
    shares = np.array([len(split.train[client]) for client in split.clients], float)
    moved = [after.clusters.models[label] - before.clusters.models[label] for label in (0, 1)]
    mean = sum(shares[label::2].sum() / shares.sum() * moved[label] for label in (0, 1))
    np.testing.assert_allclose(after.model - before.model, mean, atol=1e-5)  # the common model goes on with all


def test_a_client_that_comes_later_joins_the_cluster_that_it_is_like():
    _, states = play(12, participation={"clients_per_round": 4})
    sizes = [len(state.clusters.members) for state in states]
    assert sizes[2] == 4
    assert sizes[-1] == 6
    members = states[-1].clusters.members
    assert len({members[0], members[2], members[4]}) == len({members[1], members[3], members[5]}) == 1
    assert members[0] != members[1]
    for before, after in itertools.pairwise(states):
        assert after.clusters.members == {**after.clusters.members, **before.clusters.members}


@pytest.mark.parametrize("server", ["sgd", "adam"])
def test_a_round_from_a_checkpoint_is_the_round_without_one(tmp_path, server):
    method = {"server": server, "reduce": {"name": "cosine-cluster", "models": "each"}}
    setting, states = play(4, method=method, participation={"dropout": 0.3})
    for before, after in itertools.pairwise(states):
        save(tmp_path / "state", before, {})
        again = next_round(setting, load(tmp_path / "state", {}))
        save(tmp_path / "again", replace(again, history=()), {})
        save(tmp_path / "after", replace(after, history=()), {})
        assert (tmp_path / "again").read_bytes() == (tmp_path / "after").read_bytes()
        assert without_times(again.history[-1]) == without_times(after.history[-1])


def test_clusters_have_their_own_server_state():
    step = Sgd(lr=1.0, momentum=0.5).step
    common, start = np.zeros(2, np.float32), Sgd(lr=1.0, momentum=0.5).init
    server = start(Layout.of({"w": (2,)}))
    one = Personal({4: 0, 7: 1}, {0: np.ones(2, np.float32), 1: -np.ones(2, np.float32)})
    clusters = Clusters().stepped(one, common, server, step)
    clusters = clusters.stepped(Personal({4: 0}, {0: np.ones(2, np.float32)}), common, server, step)
    np.testing.assert_allclose(clusters.of(4, common), [2.5, 2.5])
    np.testing.assert_allclose(clusters.of(7, common), [-1, -1])
    assert clusters.of(9, common) is common
    back = Clusters.of_tensors(clusters.tensors())
    assert back.members == clusters.members
    assert [set(state) for state in back.servers] == [set(state) for state in clusters.servers]
    wrong = Personal({4: 0}, {0: np.full(2, np.inf, np.float32)})
    with np.errstate(all="ignore"):
        assert np.isfinite(clusters.stepped(wrong, common, server, step).of(4, common)).all()


def test_rows_of_several_clients_have_no_model_of_their_own():
    with pytest.raises(StackError, match="single clients"):
        play(1, method={"layers": ["nnm"], "reduce": {"name": "cosine-cluster", "models": "each"}})


def test_scaffold_with_a_model_for_each_cluster_is_refused():
    reduce = {"name": "cosine-cluster", "models": "each"}
    with pytest.raises(ConfigError, match="one model for all"):
        play(1, method={"local": "scaffold", "reduce": reduce})


def test_every_cluster_has_an_adapter_of_its_own(tmp_path):
    task = {"kind": "python", "factory": "tests.engine.test_clusters:make"}
    method = {"reduce": {"name": "cosine-cluster", "models": "each", "margin": 0.1}}
    experiment = Experiment.of({**SETTINGS, "task": task, "method": method})
    experiment.run(tmp_path / "out")
    folder = tmp_path / "out" / "adapters" / "cosine-cluster"
    vectors = [np.load(folder / name / "vector.npy") for name in ("seed-1", "seed-1-cluster-0", "seed-1-cluster-1")]
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(vectors, 2))
