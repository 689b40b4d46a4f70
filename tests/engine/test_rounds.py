"""A round: the bytes are what is used, and whoever misbehaves is named and left out."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from qfedfm.clients.schedule import batches
from qfedfm.core import wire
from qfedfm.core.cohort import Reduced
from qfedfm.core.errors import ConfigError, PayloadError, StackError
from qfedfm.core.float32 import Float32Codec
from qfedfm.core.layout import Layout
from qfedfm.core.stack import Bound
from qfedfm.engine.downlink import broadcast, receive
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.machine import client_engine
from qfedfm.engine.setting import Bench
from qfedfm.engine.state import load, save
from qfedfm.engine.waves import begin, next_round
from qfedfm.reduces.variational import LearnedWeights
from qfedfm.server.sgd import Sgd
from tests.engine.test_run import without_times
from tests.engine.tiny import SETTINGS


def bench(**changes) -> Bench:
    experiment = Experiment.of({**SETTINGS, **changes})
    task = experiment.build_task()
    return Bench(experiment, task, client_engine(experiment.engine, task))


def play(rounds=2, **changes):
    made = bench(**changes)
    setting = made.setting(made.experiment.arm(next(iter(made.experiment.methods))), 1, rounds)
    states = begin(made.engine, [setting])
    for _ in range(rounds):
        states.append(next_round(setting, states[-1]))
    return setting, states


def test_a_round_by_hand():
    """Mean of deltas of independently written SGD, added to the model."""
    setting, states = play(1)
    task, split = setting.task, setting.split
    start = states[0].model
    deltas, weights = [], []
    for client in split.clients:
        rows = batches(split.train[client], 3, 8, setting.key.fold("batches", 1, client))
        W, b = start[:12].reshape(3, 4).astype(float), start[12:].astype(float)
        for batch in rows:
            points, labels = task.data[0][batch].astype(float), task.data[1][batch]
            logits = points @ W.T + b
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(batch)), labels] -= 1
            W, b = W - 0.1 * p.T @ points / len(batch), b - 0.1 * p.mean(0)
        deltas.append(np.concatenate([W.reshape(-1), b]) - start)
        weights.append(len(split.train[client]))
    expected = start + np.average(deltas, axis=0, weights=weights)
    np.testing.assert_allclose(states[1].model, expected, atol=2e-6)
    record = states[1].history[1]
    assert record["participants"] == list(split.clients)
    assert sum(record["client_weights"].values()) == pytest.approx(1)


def test_bytes_are_the_lengths_of_the_payloads(monkeypatch):
    sent = []
    original = Bound.send
    monkeypatch.setattr(Bound, "send", lambda self, *rest: (sent.append(original(self, *rest)), sent[-1])[1])
    _, states = play(2)
    assert sum(record["uplink_bytes"] for record in states[-1].history) == sum(len(payload) for payload, _ in sent)
    assert len(sent[0][0]) == 4 * 15 + wire.OVERHEAD
    assert states[-1].history[1]["downlink_bytes"] == 6 * (4 * 15 + wire.OVERHEAD)


def test_the_decoded_bytes_make_the_model(monkeypatch):
    _, plain = play(1)
    original = Float32Codec.decode

    def corrupted(self, body, at):
        vector = original(self, body, at).copy()
        vector[3] += 1.0 if at.client == 2 else 0.0
        return vector

    monkeypatch.setattr(Float32Codec, "decode", corrupted)
    _, states = play(1)
    difference = states[1].model - plain[1].model
    assert np.flatnonzero(difference).tolist() == [3]
    assert difference[3] == pytest.approx(1 / 6, rel=0.2)


def test_an_update_that_is_not_finite_never_reaches_the_reduce(monkeypatch):
    original = Bound.send

    def hostile(self, delta, memory, at, *keys):
        if at.client != 4:
            return original(self, delta, memory, at, *keys)
        body = np.full(self.layout.size, np.nan, "<f4").tobytes()
        header = wire.Frame(at.epoch, at.round, at.client, self.layout.digest, self.stack.digest, samples=at.samples)
        return wire.frame(body, header), memory

    monkeypatch.setattr(Bound, "send", hostile)
    _, states = play(1)
    record = states[1].history[1]
    assert record["participants"] == [0, 1, 2, 3, 5]
    assert [line["client"] for line in record["refused"]] == [4]
    assert "nan" in record["refused"][0]["reason"]
    assert np.isfinite(states[1].model).all()


def test_a_client_that_diverges_sends_nothing():
    _, states = play(1, training={**SETTINGS["training"], "rate": 1e38, "steps": 4})
    record = states[1].history[1]
    assert all("not sent" in line["reason"] for line in record["refused"])
    assert len(record["refused"]) + len(record["participants"]) == 6
    assert np.isfinite(states[1].model).all()


def test_late_answers_are_refused_in_the_next_round_and_cost_bytes():
    setting, states = play(2, participation={"late": 1.0})
    first, second = states[1].history[1], states[2].history[2]
    assert first["participants"] == []
    assert first["late"] == list(setting.split.clients)
    assert first["uplink_bytes"] == 0
    assert second["uplink_bytes"] == 6 * (4 * 15 + wire.OVERHEAD)
    assert all("round 1; expected round 2" in line["reason"] for line in second["refused"])
    assert np.array_equal(states[2].model, states[0].model)


def test_clients_that_drop_out_and_partial_participation():
    _, states = play(3, participation={"clients_per_round": 4, "dropout": 0.5})
    for record in states[-1].history[1:]:
        assert len(record["participants"]) + len(record["dropped"]) == 4
    assert any(record["dropped"] for record in states[-1].history)


def test_too_few_updates_leave_the_model():
    _, states = play(1, participation={"dropout": 0.99}, method={"reduce": {"name": "krum", "hostile": 1}})
    assert np.array_equal(states[1].model, states[0].model)
    assert "too_few_updates" in states[1].history[1]["diagnostics"]


def test_hostile_clients_differ_by_seed_and_their_attack_is_sent():
    made = bench(hostile={"clients": 2, "attack": {"name": "sign-flip", "scale": 5.0}})
    arm = made.experiment.arm("mean")
    assert len({made.setting(arm, seed, 1).hostile for seed in range(8)}) > 1
    honest, attacked = play(1)[1], play(1, hostile={"clients": [0], "attack": {"name": "sign-flip", "scale": 5.0}})[1]
    assert attacked[1].history[1]["hostile"] == [0]
    assert not np.array_equal(honest[1].model, attacked[1].model)
    with pytest.raises(ConfigError, match="hostile client 9"):
        bench(hostile={"clients": [9]}).setting(arm, 1, 1)
    with pytest.raises(ConfigError, match="at least one honest"):
        bench(hostile={"clients": 6}).setting(arm, 1, 1)


def test_what_cannot_work_is_refused_before_training():
    with pytest.raises(StackError, match=r"6 clients a round for .*krum"):
        play(1, method={"reduce": {"name": "krum", "hostile": 2}})
    options = {"kind": "python", "factory": "tests.engine.tiny:make", "options": {"validation": 0}}
    with pytest.raises(StackError, match="validation"):
        play(1, method={"reduce": "softmax"}, task=options)
    with pytest.raises(ConfigError, match="clients_per_round = 7"):
        play(1, participation={"clients_per_round": 7})


def test_scaffold_with_zero_controls_is_fedavg_in_the_first_round_and_not_in_the_second():
    _, plain = play(2)
    _, states = play(2, method={"local": "scaffold"})
    np.testing.assert_allclose(states[1].model, plain[1].model, atol=1e-7)
    assert np.abs(states[2].model - plain[2].model).max() > 1e-4
    assert states[2].history[2]["downlink_bytes"] == 6 * (2 * 4 * 15 + wire.OVERHEAD)
    assert set(states[2].clients) == set(range(6))


def softmax_gradient(task, vector, rows):
    """Of the mean cross-entropy of the tiny task, written by hand."""
    W, b = vector[:12].reshape(3, 4), vector[12:]
    points, labels = task.data[0][rows].astype(float), task.data[1][rows]
    logits = points @ W.T + b
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(rows)), labels] -= 1
    return np.concatenate([(p.T @ points).reshape(-1), p.sum(0)]) / len(rows)


def test_scaffold_keeps_its_books_under_partial_participation_dropouts_and_late_answers():
    """Algorithm 1 of Karimireddy et al. with option II, line by line, over the clients whose answers count."""
    unreliable = {"clients_per_round": 4, "dropout": 0.25, "late": 0.25}
    setting, states = play(8, method={"local": "scaffold"}, participation=unreliable)
    task, split, rate, steps = setting.task, setting.split, 0.1, 3
    x, c = states[0].model.astype(float), np.zeros(15)
    own = {client: np.zeros(15) for client in split.clients}
    counted = []
    for round_ in range(1, 9):
        who = setting.participation.draw(setting.key.fold("participation"), round_, split.clients)
        deltas, changes = [], []
        for client in sorted(set(who.invited) - set(who.dropped) - set(who.late)):
            y = x.copy()
            for rows in batches(split.train[client], steps, 8, setting.key.fold("batches", round_, client)):
                y -= rate * (softmax_gradient(task, y, rows) - own[client] + c)
            after = own[client] - c + (x - y) / (steps * rate)
            deltas.append(y - x)
            changes.append(after - own[client])
            own[client] = after
        if deltas:
            x, c = x + np.mean(deltas, axis=0), c + np.sum(changes, axis=0) / len(split.clients)
        counted.append(len(deltas))
        np.testing.assert_allclose(states[round_].model, x, atol=1e-5)
        np.testing.assert_allclose(states[round_].local["control"], c, atol=1e-5)
        for version in states[round_].clients.items():
            np.testing.assert_allclose(setting.states.read(version)["method/control"], own[version[0]], atol=1e-5)
    assert len(set(counted)) > 1
    assert max(counted) < 6


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {**SETTINGS["training"], "optimizer": {"name": "adamw"}, "keep_state": True}},
        {"training": {**SETTINGS["training"], "optimizer": {"name": "sgd", "momentum": 0.9}, "keep_state": True}},
        {"method": {"local": "scaffold"}, "participation": {"clients_per_round": 4, "dropout": 0.3, "late": 0.3}},
        {"participation": {"late": 0.7}},
        {"method": {"server": "adam"}},
        {"method": {"server": "yogi"}},
        {"method": {"server": "adagrad"}},
        {"method": {"server": {"name": "sgd", "momentum": 0.9}}},
        {"method": {"reduce": {"name": "born", "steps": 5}}},
        {"method": {"reduce": {"name": "born", "steps": 2, "shots": 64}}},
        {"method": {"reduce": "born-random"}},
        {"method": {"layers": [{"name": "error-feedback", "codec": "bfloat16"}]}, "participation": {"late": 0.3}},
        {"method": {"layers": [{"name": "ef21", "codec": "bfloat16"}]}, "participation": {"dropout": 0.3}},
    ],
    ids=str,
)
def test_a_round_from_a_checkpoint_is_the_round_without_one(tmp_path, changes):
    setting, states = play(3, **changes)
    for before, after in itertools.pairwise(states):
        save(tmp_path / "state", before, {})
        again = next_round(replace(setting, epoch=1), load(tmp_path / "state", {}))
        save(tmp_path / "again", replace(again, history=()), {})
        save(tmp_path / "after", replace(after, history=(), late=again.late), {})
        assert (tmp_path / "again").read_bytes() == (tmp_path / "after").read_bytes()
        assert list(again.late) == list(after.late)  # their bytes name the session
        assert without_times(again.history[-1]) == without_times(after.history[-1])


def test_optimiser_state_is_kept_only_on_request():
    momentum = {"name": "sgd", "momentum": 0.9}
    fresh = play(2, training={**SETTINGS["training"], "optimizer": momentum})[1]
    setting, kept = play(2, training={**SETTINGS["training"], "optimizer": momentum, "keep_state": True})
    assert np.array_equal(fresh[1].model, kept[1].model)
    assert not np.array_equal(fresh[2].model, kept[2].model)
    assert fresh[2].clients == {}
    assert kept[2].clients == dict.fromkeys(range(6), 2)
    assert "optimizer/momentum" in setting.states.read((0, 2))


def test_a_codecs_memory_follows_the_accepted_updates_on_both_sides():
    layers = [{"name": "ef21", "codec": "bfloat16"}]
    setting, states = play(4, method={"layers": layers}, participation={"dropout": 0.3, "late": 0.3})
    for before, after in itertools.pairwise(states):
        accepted = after.history[-1]["participants"]
        assert after.clients == {**before.clients, **dict.fromkeys(accepted, after.round)}
        for version in after.clients.items():
            kept = setting.states.read(version)
            np.testing.assert_array_equal(kept["codec/followed"], kept["mirror/followed"])
            assert kept["mirror/followed"].any()


def test_a_model_that_diverged_is_evaluated_without_a_warning():
    _, states = play(1, method={"server": {"name": "sgd", "lr": 3e38}}, training={**SETTINGS["training"], "rate": 1e4})
    assert 0 <= states[1].history[1]["accuracy"] <= 1


def test_a_server_step_that_is_not_finite_is_not_taken(monkeypatch):
    monkeypatch.setattr(Sgd, "step", lambda self, model, delta, state: (np.full_like(model, np.nan), state))
    _, states = play(1)
    assert np.array_equal(states[1].model, states[0].model)
    assert states[1].history[1]["diagnostics"]["not_finite"] == 1.0


def test_the_same_state_gives_the_same_bits():
    setting, states = play(2, hostile={"clients": 2, "attack": {"name": "gaussian"}})
    again = next_round(setting, states[1])
    assert np.array_equal(again.model, states[2].model)
    resumed = next_round(replace(setting, epoch=3), states[1])
    assert np.array_equal(resumed.model, states[2].model)


def test_a_broadcast_is_checked():
    layout = Layout.of({"a": (3,)})
    model, state = np.arange(3, dtype=np.float32), {"control": np.ones(3, np.float32)}
    payload = broadcast(model, state, layout, 0, 1)
    got, extra = receive(payload, state, layout, 0, 1)
    assert np.array_equal(got, model)
    assert np.array_equal(extra["control"], state["control"])
    with pytest.raises(PayloadError, match="round"):
        receive(payload, state, layout, 0, 2)
    with pytest.raises(PayloadError):
        receive(payload, {}, layout, 0, 1)
    with pytest.raises(PayloadError, match="12 bytes"):
        receive(broadcast(model, {}, layout, 0, 1), state, layout, 0, 1)
    with pytest.raises(PayloadError, match="not finite"):
        receive(broadcast(np.full(3, np.inf, np.float32), {}, layout, 0, 1), {}, layout, 0, 1)


@pytest.mark.parametrize("mode", ["sequential", "fused"])
def test_the_loss_of_an_objective_is_that_beside_its_gradient(mode, monkeypatch):
    asked = []

    def reduce(self, cohort, state, at):
        for size in (0.0, 0.3):
            delta = np.full(cohort.layout.size, size, np.float32)
            asked.append((at.objective.gradient(delta)[0], at.objective.loss(delta)))
        return Reduced(cohort.X[0]), state

    monkeypatch.setattr(LearnedWeights, "reduce", reduce)
    play(1, compare={"twin": {"reduce": "amplitudes"}}, engine={"mode": mode})
    beside, alone = np.transpose(asked)
    assert beside[0] != beside[1]
    np.testing.assert_allclose(alone, beside, rtol=1e-6)
