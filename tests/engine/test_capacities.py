"""Clients that hold the first ranks only: what they start from, what travels, and what becomes of the model."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import Job, LocalOptimizer
from qfedfm.clients.schedule import batches
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core import wire
from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.held import nested
from qfedfm.core.key import Key
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.results import client_lines
from qfedfm.engine.rounds import open_round
from qfedfm.engine.state import load, save
from qfedfm.engine.waves import next_round, play_wave
from qfedfm.tasks.protocol import Split
from tests.clients.tiny import ADAPTERS, TinyTask, bert, lora
from tests.engine.test_rounds import bench, play
from tests.engine.test_run import without_times
from tests.engine.test_stages import play as play_stages
from tests.engine.tiny import LORA, SETTINGS

SHARES = [1.0, 0.5, 0.25]
D, HEAD = 16 + 16 + 15, 15
MOMENTUM = {"name": "sgd", "momentum": 0.9, "weight_decay": 0.1}


def ranks(setting):
    return {client: round(4 * setting.bound.holding(client).share) for client in setting.split.clients}


def numbers(rank):
    """That a client of this rank holds."""
    return 2 * 4 * rank + HEAD


@pytest.mark.parametrize("mode", ["sequential", "fused"])
def test_whole_capacities_change_no_bit(mode):
    engine = {"mode": mode, "device": "cpu"}
    _, plain = play(2, task=LORA, engine=engine)
    _, states = play(2, task=LORA, engine=engine, participation={"capacities": [1.0]})
    assert plain[-1].model.tobytes() == states[-1].model.tobytes()
    assert without_times(list(plain[-1].history)) == without_times(list(states[-1].history))


def test_without_capacities_the_settings_say_nothing_of_them():
    assert "capacities" not in Experiment.of(SETTINGS).settings["participation"]
    given = Experiment.of({**SETTINGS, "participation": {"capacities": SHARES}})
    assert given.settings["participation"]["capacities"] == SHARES
    assert Experiment.of(given.settings) == given


def test_capacities_are_spread_evenly_and_belong_to_the_seed():
    made = bench(task=LORA, participation={"capacities": SHARES}, compare={"a": {}, "b": {"layers": ["bfloat16"]}})
    drawn = {seed: ranks(made.setting(made.experiment.arm("a"), seed, 1)) for seed in range(8)}
    assert all(Counter(found.values()) == {4: 2, 2: 2, 1: 2} for found in drawn.values())
    assert len({tuple(found.items()) for found in drawn.values()}) > 1
    assert ranks(made.setting(made.experiment.arm("b"), 3, 1)) == drawn[3]
    lines = client_lines(made.setting(made.experiment.arm("a"), 3, 1))
    assert {int(client): 4 * line["capacity"] for client, line in lines.items()} == drawn[3]


def slow_round(setting, model, round_):
    """Each client's own small model of rank r_k, trained by numpy, and the mean over the holders of each coordinate."""
    task, split = setting.task, setting.split
    total, mass = np.zeros(D), np.zeros(D)
    for client, rank in ranks(setting).items():
        rows = batches(split.train[client], 3, 8, setting.key.fold("batches", round_, client))
        A, B = model[:16].reshape(4, 4)[:rank].astype(float), model[16:32].reshape(4, 4)[:, :rank].astype(float)
        W, b = model[32:44].reshape(3, 4).astype(float), model[44:].astype(float)
        first = [A, B, W, b]
        for batch in rows:
            x, labels = task.data[0][batch].astype(float), task.data[1][batch]
            h = x + x @ A.T @ B.T
            logits = h @ W.T + b
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(batch)), labels] -= 1
            p /= len(batch)
            back = p @ W
            slopes = B.T @ back.T @ x, back.T @ (x @ A.T), p.T @ h, p.sum(0)
            A, B, W, b = (value - 0.1 * slope for value, slope in zip((A, B, W, b), slopes, strict=True))
        dA, dB, dW, db = (end - start for end, start in zip((A, B, W, b), first, strict=True))
        wide_A, wide_B, own_A, own_B = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
        wide_A[:rank], wide_B[:, :rank], own_A[:rank], own_B[:, :rank] = dA, dB, 1, 1
        weight = len(split.train[client])
        total += weight * np.concatenate([wide_A.ravel(), wide_B.ravel(), dW.ravel(), db])
        mass += weight * np.concatenate([own_A.ravel(), own_B.ravel(), np.ones(HEAD)])
    return model + np.divide(total, mass, out=np.zeros(D), where=mass > 0)


@pytest.mark.parametrize("shares", [SHARES, [0.5], [0.75, 0.25]], ids=str)
@pytest.mark.parametrize("mode", ["sequential", "fused"])
def test_rounds_by_hand(mode, shares):
    setting, states = play(2, task=LORA, engine={"mode": mode, "device": "cpu"}, participation={"capacities": shares})
    for before, after in itertools.pairwise(states):
        np.testing.assert_allclose(after.model, slow_round(setting, before.model, after.round), atol=3e-6)
        assert after.history[-1]["client_weights"] is None
    moved = (states[2].model != states[0].model)[:16].reshape(4, 4).any(axis=1)
    assert moved.tolist() == [row < 4 * max(shares) for row in range(4)]


@pytest.mark.parametrize(("layers", "width"), [([], 4), (["bfloat16"], 2)])
def test_only_what_is_held_travels_both_ways(layers, width):
    setting, states = play(1, task=LORA, participation={"capacities": SHARES}, method={"layers": layers})
    held = sum(numbers(rank) for rank in ranks(setting).values())
    assert held == 2 * (numbers(4) + numbers(2) + numbers(1))
    record = states[1].history[1]
    assert record["uplink_bytes"] == width * held + 6 * wire.OVERHEAD
    assert record["downlink_bytes"] == 4 * held + 6 * wire.OVERHEAD


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training": {**SETTINGS["training"], "optimizer": MOMENTUM, "keep_state": True}},
        {"method": {"layers": [{"name": "error-feedback", "codec": "top-k"}], "server": "adam"}},
        {"method": {"layers": [{"name": "ef21", "codec": "bfloat16"}]}, "hostile": {"clients": 2, "attack": "alie"}},
        {"method": {"local": {"name": "fedprox", "mu": 0.1}}},
    ],
    ids=str,
)
def test_a_round_from_a_checkpoint_is_the_round_without_one(tmp_path, changes):
    participation = {"capacities": SHARES, "clients_per_round": 5, "late": 0.2, "dropout": 0.1}
    setting, states = play(4, task=LORA, participation=participation, **changes)
    for before, after in itertools.pairwise(states):
        save(tmp_path / "state", before, {})
        again = next_round(replace(setting, epoch=1), load(tmp_path / "state", {}))
        assert again.model.tobytes() == after.model.tobytes()
        assert without_times(again.history[-1]) == without_times(after.history[-1])
    refused = [line["reason"] for state in states[1:] for line in state.history[-1]["refused"]]
    assert all("expected round" in reason for reason in refused), "late answers only"


def test_what_a_codec_remembers_is_of_what_is_held():
    layers = [{"name": "ef21", "codec": "bfloat16"}]
    setting, states = play(2, task=LORA, participation={"capacities": SHARES}, method={"layers": layers})
    for version in states[-1].clients.items():
        kept = setting.states.read(version)
        assert kept["codec/followed"].shape == (numbers(ranks(setting)[version[0]]),)
        np.testing.assert_array_equal(kept["codec/followed"], kept["mirror/followed"])


def test_runs_that_are_played_together_come_to_the_bits_of_those_played_alone():
    compare = {"a": {}, "b": {"layers": ["bfloat16"]}}
    made = bench(task=LORA, participation={"capacities": SHARES}, compare=compare)
    settings = [made.setting(made.experiment.arm(name), 1, 2) for name in compare]
    alone = [play(2, task=LORA, participation={"capacities": SHARES}, method=compare[name])[1] for name in compare]
    together = [states[0] for states in alone]
    for _ in range(2):
        together = play_wave(made.engine, list(zip(settings, together, strict=True)))
    assert [state.model.tobytes() for state in together] == [states[-1].model.tobytes() for states in alone]


def test_from_one_stage_to_the_next_nothing_of_other_ranks_is_remembered():
    stages = [{"rounds": 2}, {"participation": {"capacities": [0.5, 0.25]}}]
    layers = [{"name": "ef21", "codec": "bfloat16"}]
    participation = {"capacities": SHARES}
    changes = {"task": LORA, "participation": participation, "method": {"layers": layers}}
    setting, states = play_stages(4, stage=stages, **changes)
    later = setting.of(3)
    assert later is not setting
    kept = later.states.read((0, states[-1].clients[0]))
    assert kept["codec/followed"].shape == (numbers(ranks(later)[0]),)
    assert states[-1].history[-1]["refused"] == []


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"task": SETTINGS["task"]}, ConfigError, "adapter without LoRA modules"),
        ({"method": {"down": "bfloat16"}}, ConfigError, "'bfloat16' on the way down .*different ranks"),
        ({"method": {"local": "scaffold"}}, ConfigError, "'scaffold' for clients that hold different ranks"),
        ({"method": {"reduce": "krum"}}, StackError, "'krum' over clients that hold different ranks.*all coordinates"),
        ({"method": {"reduce": "born"}}, StackError, "'born' over clients"),
        ({"method": {"reduce": {"name": "cosine-cluster", "models": "each"}}}, StackError, "'cosine-cluster' over"),
        ({"method": {"layers": ["nnm"]}}, StackError, "cohort layer 'nnm' over clients"),
        ({"method": {"selector": "greedy-choice"}}, StackError, "'greedy-choice', which compares updates"),
        ({"participation": {"capacities": [1.0] * 6 + [0.5]}}, ConfigError, "7 capacities of 6 clients"),
    ],
    ids=str,
)
def test_what_cannot_be_combined_is_refused_before_training(changes, error, named):
    with pytest.raises(error, match=named):
        play(1, **{"task": LORA, "participation": {"capacities": SHARES}, **changes})


@pytest.mark.parametrize("share", [0, 1.5, -0.5, "half"])
def test_a_capacity_is_a_share(share):
    with pytest.raises(ConfigError, match=r"participation\.capacities"):
        Experiment.of({**SETTINGS, "participation": {"capacities": [1.0, share]}})


@pytest.mark.parametrize("optimizer", [LocalOptimizer("adamw", weight_decay=0.1), LocalOptimizer(**MOMENTUM)], ids=str)
@pytest.mark.parametrize("name", ["bert, LoRA", "llama, LoRA", "bert, DoRA"])
@pytest.mark.parametrize("mode", ["sequential", "fused"])
def test_on_transformers_the_delta_is_exactly_zero_where_nothing_is_held(mode, name, optimizer):
    task, key = ADAPTERS[name](), Key.of(0)
    engine = SequentialEngine(task, key) if mode == "sequential" else FusedEngine(task, key, device="cpu")
    held = nested(engine.layout, {0: 1.0, 1: 0.5, 2: 0.25})
    rng = np.random.default_rng(0)
    jobs = []
    for client in range(3):
        start = held.of(client).widen(held.of(client).narrow(engine.first))
        rows = tuple(rng.integers(0, 60, 4) for _ in range(3))
        dropout = key.fold("dropout", client)
        jobs.append(Job(client, start, rows, np.full(3, 0.01), optimizer, proximal=0.1, dropout=dropout))
    for trained in engine.train(jobs):
        held.check(trained.client, trained.delta)
        assert held.of(trained.client).narrow(trained.delta).all(), "and nowhere where something is"


class TinyBert(TinyTask):
    """Four clients with twelve rows of random tokens each, and a small BERT with LoRA of rank 4."""

    def split(self, key):
        parts = np.split(key.numpy().permutation(self.rows), 5)
        train = {client: np.sort(part) for client, part in enumerate(parts[:4])}
        test = {client: np.sort(part) for client, part in enumerate(np.split(parts[4], 4))}
        return Split(train, test, np.empty(0, np.int64), np.empty(0, np.int64), {c: str(c) for c in train})

    def metrics(self, outputs, rows):
        return dict.fromkeys(("accuracy", "loss", "macro_f1"), 0.0)

    def save_adapter(self, vector, folder):
        raise NotImplementedError


def make_bert():
    return TinyBert(bert, lora("classifier", "query", "value"))


@pytest.mark.parametrize("mode", ["sequential", "fused"])
def test_a_small_bert(mode):
    """Ranks that only the strong clients hold move as in a federation of the strong ones alone."""
    task = {"kind": "python", "factory": "tests.engine.test_capacities:make_bert"}
    changes = {"task": task, "engine": {"mode": mode, "device": "cpu", "precision": "float32"}}
    setting, states = play(2, **changes, participation={"capacities": [1.0, 0.5]})
    layout, record = setting.bound.layout, states[1].history[1]
    sizes = [setting.bound.holding(client).layout.size for client in range(4)]
    inner = sum(A.stop - A.start + B.stop - B.start for A, B in layout.lora_pairs)
    assert sorted(sizes) == [layout.size - inner // 2] * 2 + [layout.size] * 2
    assert record["uplink_bytes"] == record["downlink_bytes"] == 4 * sum(sizes) + 4 * wire.OVERHEAD
    strong = [client for client in range(4) if sizes[client] == layout.size]
    weak = next(setting.bound.holding(client) for client in range(4) if client not in strong)
    whole, _ = play(1, **changes)
    jobs = {job.client: job for job in open_round(whole, states[0]).jobs}
    deltas = [next(iter(whole.engine.train([jobs[client]]))).delta for client in strong]
    expected = states[0].model + np.mean(deltas, axis=0)
    np.testing.assert_allclose(states[1].model[~weak.mask], expected[~weak.mask], atol=1e-5)
    assert np.abs(states[1].model[~weak.mask] - states[0].model[~weak.mask]).max() > 1e-4
    assert np.abs(states[1].model[weak.mask] - expected[weak.mask]).max() > 1e-4
