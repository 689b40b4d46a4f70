"""The peers do the same work: same rows, same steps, same result, and none of the library's training code."""

import ast
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

import qfedfm.bench.peers
from qfedfm.bench.angles import measured, point
from qfedfm.bench.ours import circuits
from qfedfm.bench.peers import bare, byzfl, pennylane, plain, qiskit
from qfedfm.bench.simulate import settings
from qfedfm.bench.vectors import digest, hostile, timed, uncached, updates
from qfedfm.bench.workload import Federation
from qfedfm.engine.experiment import Experiment

ALLOWED = (
    "qfedfm.bench.angles",
    "qfedfm.bench.child",
    "qfedfm.bench.peers",
    "qfedfm.bench.vectors",
    "qfedfm.bench.workload",
)


@pytest.fixture(scope="module")
def small():
    made = settings(2, 2)
    made["task"] |= {"partition": {"name": "iid", "clients": 2}, "train_rows": 24, "test_rows": 8, "max_tokens": 16}
    made["training"] |= {"steps": 2}
    made["engine"] = {"mode": "sequential", "device": "cpu"}
    return made


def test_a_bare_loop_comes_to_the_model_of_the_library(small):
    federation = Federation.of(small)
    model = plain.prepared(federation, "float32")
    seconds, losses, accuracy = bare._rounds(model, federation, plain.values(model))
    *_, last = experiment = list(Experiment.of(small).rounds(task=federation.task))
    vector = torch.cat([value.reshape(-1) for value in plain.values(model)]).numpy()
    moved = np.linalg.norm(last.model - experiment[0].model)
    assert moved > 0.01
    assert np.linalg.norm(vector - last.model) < 1e-3 * moved
    assert losses == pytest.approx([one.record["train_loss"] for one in experiment[1:]], abs=1e-5)
    assert accuracy == last.record["accuracy"]
    assert len(seconds) == 2
    assert federation.client_steps == 2 * 2 * 2


def test_in_bfloat16_the_base_is_cast_and_what_is_trained_is_not(small):
    federation = Federation.of(small)
    model = plain.prepared(federation, "bfloat16")
    assert {parameter.dtype for parameter in plain.trainable(model)} == {torch.float32}
    frozen = {parameter.dtype for parameter in model.parameters() if not parameter.requires_grad}
    assert frozen == {torch.bfloat16}
    assert model.config._attn_implementation == "eager"
    before = plain.values(model)
    loss = plain.train(model, federation, federation.rows(1, 0))
    assert 0.5 < loss < 2
    assert any(not torch.equal(one, other) for one, other in zip(before, plain.values(model), strict=True))


def test_the_mean_of_updates():
    updates = [[torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])], [torch.tensor([5.0, 6.0]), torch.tensor([[7.0]])]]
    first, second = plain.average(updates, [1, 3])
    assert first.tolist() == [4.0, 5.0]
    assert second.tolist() == [[6.0]]


def test_the_faster_number_of_threads_is_taken(monkeypatch):
    monkeypatch.setattr(bare.os, "cpu_count", lambda: 2)
    before = torch.get_num_threads()
    try:
        for best in (1, 2):
            clock = iter([0.0, 9.0, 10.0, 19.0, 20.0, 21.0 if best == 1 else 23.0, 30.0, 32.0])
            monkeypatch.setattr(bare.time, "perf_counter", lambda clock=clock: next(clock))
            assert bare.fastest_threads(lambda: None) == best
    finally:
        torch.set_num_threads(before)


def test_the_peers_use_none_of_the_training_code():
    for path in sorted(Path(qfedfm.bench.peers.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = [name for name in names if name.split(".")[0] == "qfedfm" and not name.startswith(ALLOWED)]
            assert ours == [], path.name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean", lambda X: X.mean(0)),
        ("median", lambda X: np.median(X, axis=0)),
        ("trimmed-mean", lambda X: np.sort(X, axis=0)[2:-2].mean(0)),
    ],
)
def test_the_aggregators_of_byzfl_are_what_their_names_say(name, expected):
    X = updates(11, 5)
    np.testing.assert_allclose(byzfl.aggregator(name, hostile(11))(X), expected(X), rtol=1e-5, atol=1e-5)


def test_krum_of_byzfl_picks_an_honest_update():
    X = updates(12, 50)
    chosen = byzfl.aggregator("krum", 3)(X)
    assert any(np.array_equal(chosen, row) for i, row in enumerate(X) if i % 5)


def test_updates_have_a_fifth_far_away():
    X = updates(10, 2000)
    apart = np.linalg.norm(X - np.median(X, axis=0), axis=1)
    assert set(np.argsort(apart)[-2:]) == {0, 5}
    np.testing.assert_array_equal(X, updates(10, 2000))


def test_each_timed_call_is_given_something_new():
    made, seen = itertools.count(), []

    def work(number):
        seen.append(number)
        return np.zeros(3)

    seconds, result = timed(work, lambda: next(made), least=0.01)
    assert seen == list(range(len(seen)))
    assert len(seen) >= 4
    assert seconds >= 0
    assert result.tolist() == [0, 0, 0]


def test_a_slow_call_is_timed_once(monkeypatch):
    clock = iter([0.0, 5.0])
    monkeypatch.setattr("qfedfm.bench.vectors.time.perf_counter", lambda: next(clock))
    assert timed(lambda x: x, lambda: np.zeros(1))[0] == 5.0


def test_other_memory_is_read_between_making_and_timing(monkeypatch):
    monkeypatch.setattr("qfedfm.bench.vectors._LARGER_THAN_CACHES", 8)
    assert uncached(lambda: 3)() == 3


def test_a_digest_tells_vectors_apart():
    v = np.arange(100, dtype=np.float32)
    assert digest(v) == digest(v.copy())
    assert digest(v)[0] == pytest.approx(np.sqrt((np.arange(100.0) ** 2).sum()))
    assert digest(v) != digest(v + 1)


@pytest.mark.parametrize("lines", [1, 3])
@pytest.mark.parametrize("make", [pennylane.default_qubit, pennylane.lightning, qiskit.simulator])
def test_the_simulators_come_to_the_same(make, lines):
    given = point(3, lines)
    for ours, theirs in zip(circuits.simulator(3), make(3), strict=True):
        found = ours(given)
        np.testing.assert_allclose(theirs(given).reshape(found.shape), found, rtol=0, atol=1e-10)


def test_both_functions_are_timed_at_every_size():
    found = measured([(2, 1), (3, 2)], 0.001, qiskit.simulator)
    assert [(one["qubits"], one["lines"]) for one in found] == [(2, 1), (3, 2)]
    assert found[0]["value"]["first"] == found[0]["value"]["all"]
    assert found[1]["gradient"]["first"] != found[1]["gradient"]["all"]
    assert all(one[what]["seconds"] > 0 for one in found for what in ("value", "gradient"))


def test_the_points_of_a_small_batch_are_the_first_of_a_large_one():
    for few, many in zip(point(3, 2), point(3, 5), strict=True):
        np.testing.assert_array_equal(few, many[:2])
