"""Rounds of H-FL against plain SGD, finite differences and the payloads that really passed."""

import json
from dataclasses import replace

import numpy as np
import pydantic
import pytest
import torch

from qfedfm.adapters.tensors import load_vector, vector_of
from qfedfm.clients.jobs import LocalOptimizer
from qfedfm.clients.schedule import batches
from qfedfm.core import wire
from qfedfm.core.errors import ConfigError, DataError
from qfedfm.core.key import Key
from qfedfm.engine.sealed import read_sealed, write_sealed
from qfedfm.split import HFL, Federation, SplitState, advance, begin, play
from qfedfm.split.mediators import gather
from qfedfm.split.noise import noised
from qfedfm.tasks.digits import Digits
from tests.engine.tiny import TinyTask
from tests.split.tiny import HIDDEN, TinySplit

SGD = LocalOptimizer("sgd")
PLAIN = HFL(rounds=2, cut=0, steps=3, batch_size=5, ratio=1.0, shallow=SGD, deep=SGD, shallow_rate=0.2, deep_rate=0.2)
TIGHT = PLAIN.model_copy(update={"clients_per_mediator": 2, "ratio": 0.3, "rounds": 3})
DIGITS = Digits(partition={"name": "dirichlet", "alpha": 0.5, "clients": 4}, train_rows=40, test_rows=10)
ADAMW = HFL(
    rounds=3, cut=0, clients_per_round=4, clients_per_mediator=2, steps=2, ratio=0.3, clipping_norm=0.5, noise=0.1
)


def last(config, task, seed=1, state=None):
    *_, found = play(config, task, seed, state)
    return found


def same(one, other):
    return (
        np.array_equal(one.shallow, other.shallow)
        and np.array_equal(one.deep, other.deep)
        and one.optimizer.keys() == other.optimizer.keys()
        and all(np.array_equal(one.optimizer[name], other.optimizer[name]) for name in one.optimizer)
        and json.dumps(one.history) == json.dumps(other.history)
    )


def sgd(task, config, seed):
    """Plain SGD of the whole model on the batches of all clients together."""
    key = Key.of(seed)
    split, model = task.split(key.fold("split")), task.model(key.fold("adapter"))
    optimizer = torch.optim.SGD(model.parameters(), config.deep_rate)
    for round_ in range(1, config.rounds + 1):
        drawn = [
            batches(split.train[client], config.steps, config.batch_size, key.fold("batches", round_, client))
            for client in split.clients
        ]
        for step in range(config.steps):
            batch = task.collate(np.concatenate([rows[step] for rows in drawn]))
            optimizer.zero_grad()
            task.losses(task.forward(model, batch.inputs), batch.labels).mean().backward()
            optimizer.step()
    return vector_of(model)


@pytest.mark.parametrize(
    ("task", "config"),
    [
        (TinySplit(), {"clients_per_mediator": 6}),
        (TinySplit(), {"clients_per_mediator": 2, "steps": 1, "rounds": 4}),
        (DIGITS, {"clients_per_mediator": 4, "cut": 1, "shallow_rate": 0.05, "deep_rate": 0.05}),
        (DIGITS, {"clients_per_mediator": 3, "cut": 0, "steps": 1, "shallow_rate": 0.05, "deep_rate": 0.05}),
    ],
    ids=["one mediator", "three mediators, one step a round", "digits, one mediator", "digits, two mediators"],
)
def test_at_full_rank_without_noise_it_is_plain_sgd(task, config):
    config = PLAIN.model_copy(update=config)
    federation, state = Federation.of(config, task, 3), last(config, task, 3).state
    expected, start = sgd(task, config, 3), federation.whole(*federation.first)
    found = federation.whole(state.shallow, state.deep)
    assert np.linalg.norm(expected - start) > 0.1
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected - start)


def loss(vector, deep, points, labels, rank, correction, start):
    """The server's loss of the tiny task in float64, at a shallow part ``vector``."""

    def features(shallow):
        return np.tanh(points @ shallow[: 4 * HIDDEN].reshape(HIDDEN, 4).T + shallow[4 * HIDDEN :])

    x = features(vector)
    if correction == "exact":
        u, s, vt = np.linalg.svd(x, full_matrices=False)
        x = (u[:, :rank] * s[:rank]) @ vt[:rank]
    else:
        u = np.linalg.svd(features(start), full_matrices=False)[0][:, :rank]
        x = u @ u.T @ x
    logits = x @ deep[: 3 * HIDDEN].reshape(3, HIDDEN).T + deep[3 * HIDDEN :]
    return -np.mean(logits[np.arange(len(labels)), labels] - np.log(np.exp(logits).sum(axis=1)))


@pytest.mark.parametrize("correction", ["exact", "projected"])
def test_the_shallow_gradient_is_that_of_finite_differences(correction):
    """What a step of the protocol does to the shallow part, against the slope of the loss that the server computes."""
    task, rank = TinySplit(), 3
    changes = {"clients_per_mediator": 6, "steps": 1, "rounds": 1, "ratio": rank / HIDDEN, "correction": correction}
    config = PLAIN.model_copy(update=changes)
    federation = Federation.of(config, task, 2)
    before, after = [round_.state for round_ in play(config, task, 2)]
    found = (before.shallow - after.shallow).astype(np.float64) / config.shallow_rate
    keys = [federation.key.fold("batches", 1, client) for client in range(6)]
    rows = np.concatenate([batches(federation.split.train[client], 1, 5, key)[0] for client, key in enumerate(keys)])
    points, labels = task.data[0][rows].astype(np.float64), task.data[1][rows]
    start, deep = before.shallow.astype(np.float64), before.deep.astype(np.float64)

    def slope(i):
        along = np.zeros_like(start)
        along[i] = 1e-5
        ends = [loss(start + sign * along, deep, points, labels, rank, correction, start) for sign in (1, -1)]
        return (ends[0] - ends[1]) / 2e-5

    expected = np.array([slope(i) for i in range(len(start))])
    assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)


def test_corrections_differ_only_where_something_is_discarded():
    vectors = [
        [last(TIGHT.model_copy(update={"correction": correction, "ratio": ratio}), TinySplit()).state.shallow
         for correction in ("none", "projected", "tangent", "exact")]
        for ratio in (0.3, 1.0)
    ]  # fmt: skip
    assert len({vector.tobytes() for vector in vectors[0]}) == 4
    assert len({vector.tobytes() for vector in vectors[1]}) == 1


@pytest.mark.parametrize("config", [TIGHT, ADAMW, PLAIN], ids=["tight", "adamw", "whole"])
def test_bytes_are_the_lengths_of_the_payloads(config, monkeypatch):
    lengths, frame = [], wire.frame

    def tapped(body, header):
        payload = frame(body, header)
        lengths.append((header.client, header.direction, len(payload)))
        return payload

    monkeypatch.setattr(wire, "frame", tapped)
    for round_ in play(config, TinySplit(), 1):
        record, passed = round_.record, list(lengths)
        lengths.clear()
        copies = len(record["mediators"])
        up = sum(length for _, direction, length in passed if direction == wire.UP)
        down = sum(
            length * (copies if client == wire.EVERYONE else 1)
            for client, direction, length in passed
            if direction == wire.DOWN
        )
        assert record["uplink_bytes"] + record["edge_uplink_bytes"] == up > 0
        assert record["downlink_bytes"] + record["edge_downlink_bytes"] == down
        for hop, prefix in (("core", ""), ("edge", "edge_")):
            for direction in ("up", "down"):
                named = record[f"{prefix}{direction}link_bytes"]
                assert sum(record["traffic"][hop][direction].values()) == named


def test_the_bytes_of_a_round_by_hand():
    """Three mediators of two clients, 3 steps, 10 rows of 8 features in rank 2: U and B have 2 · 18 numbers."""
    record = last(TIGHT, TinySplit()).record
    head, shallow, rows, numbers = wire.OVERHEAD, 4 * HIDDEN + HIDDEN, 10, 2 * (10 + 8)
    assert record["traffic"]["core"] == {
        "up": {"features": 9 * (head + 4 + 4 + rows + 4 * numbers), "models": 3 * (head + 4 + 4 * shallow)},
        "down": {"gradients": 9 * (head + 4 + 4 * numbers), "models": 3 * (head + 4 + 4 * shallow)},
    }
    assert record["traffic"]["edge"] == {
        "up": {"features": 18 * (head + 4 + 4 + 5 + 4 * 40), "models": 18 * (head + 4 + 4 * shallow)},
        "down": {"gradients": 18 * (head + 4 + 4 * 40), "models": 18 * (head + 4 + 4 * shallow)},
    }


def test_the_census_is_what_the_server_groups_by():
    task = TinySplit()
    first, second = list(play(PLAIN.model_copy(update={"rounds": 1, "clients_per_mediator": 2}), task, 1))
    split = task.split(Key.of(1).fold("split"))
    for client, rows in split.train.items():
        assert first.state.counts[client].tolist() == np.bincount(task.labels()[rows], minlength=3).tolist()
    assert first.record["traffic"]["core"]["up"] == {"counts": 6 * (wire.OVERHEAD + 4 * 3)}
    assert second.record["mediators"] == [list(group) for group in gather(first.state.counts, 2)]


@pytest.mark.parametrize("task", [TinySplit(), DIGITS], ids=["tiny", "digits"])
def test_an_interrupted_run_goes_on_bit_for_bit(task, tmp_path):
    rounds = [round_.state for round_ in play(ADAMW, task, 1)]
    assert same(last(ADAMW, task).state, rounds[-1])
    for number, state in enumerate(rounds[:-1]):
        path, identity = tmp_path / f"{number}.safetensors", {"seed": 1}
        write_sealed(path, state.arrays(), {"round": state.round, "history": list(state.history)}, identity)
        arrays, about = read_sealed(path, identity, "")
        back = SplitState.restored(arrays, about["round"], tuple(about["history"]))
        assert same(back, state)
        assert same(last(ADAMW, task, state=back).state, rounds[-1])
    assert list(play(ADAMW, task, 1, rounds[-1])) == []


def test_a_resumed_epoch_changes_no_number():
    federations = [Federation.of(TIGHT, TinySplit(), 1, epoch) for epoch in (0, 7)]
    assert same(*(advance(federation, begin(federation)) for federation in federations))


def test_seeds_differ_and_global_generators_stay():
    before = torch.random.get_rng_state()
    config = ADAMW.model_copy(update={"rounds": 1})
    one, other = (last(config, DIGITS, seed).state for seed in (1, 2))
    assert not np.array_equal(one.shallow, other.shallow)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_some_clients_take_part():
    config = ADAMW.model_copy(update={"rounds": 8})
    seen = [round_.record for round_ in play(config, TinySplit(), 1)][1:]
    assert all(len(record["participants"]) == 4 and len(record["mediators"]) == 2 for record in seen)
    assert {client for record in seen for client in record["participants"]} == set(range(6))


def tamper(monkeypatch, wanted):
    """Flips a bit of the payloads that ``wanted`` picks by header."""
    frame = wire.frame

    def wrong(body, header):
        payload = frame(body, header)
        return payload[:-1] + bytes([payload[-1] ^ 1]) if wanted(header) else payload

    monkeypatch.setattr(wire, "frame", wrong)


@pytest.mark.parametrize(("hop", "kind", "direction"), [
    ("core", "features", wire.UP), ("core", "gradients", wire.DOWN), ("core", "models", wire.UP),
    ("edge", "features", wire.UP), ("edge", "gradients", wire.DOWN), ("edge", "models", wire.UP),
])  # fmt: skip
def test_a_payload_that_is_not_as_it_was_costs_its_mediator_the_round(monkeypatch, hop, kind, direction):
    federation = Federation.of(TIGHT, TinySplit(), 1)
    state = begin(federation)
    groups = gather(state.counts, 2)
    victim, letter = 1, federation.letter(hop, direction, kind)
    client = victim if hop == "core" else groups[victim][0]
    honest = advance(federation, state)
    tamper(monkeypatch, lambda h: (h.stack, h.client, h.direction) == (letter.stack, client, direction))
    after = advance(federation, state)
    (refused,) = after.history[-1]["refused"]
    assert refused["mediator"] == victim
    assert "checksum" in refused["reason"]
    assert not np.array_equal(after.shallow, state.shallow)
    assert not np.array_equal(after.shallow, honest.shallow)


def test_without_any_mediator_the_model_stays(monkeypatch):
    federation = Federation.of(TIGHT, TinySplit(), 1)
    state = begin(federation)
    tamper(monkeypatch, lambda h: h.direction == wire.UP)
    after = advance(federation, state)
    assert [refused["mediator"] for refused in after.history[-1]["refused"]] == [0, 1, 2]
    assert after.history[-1]["train_loss"] is None
    assert np.array_equal(after.shallow, state.shallow)
    assert np.array_equal(after.deep, state.deep)


def test_a_run_that_diverges_ends_with_its_last_finite_model():
    config = TIGHT.model_copy(update={"shallow_rate": 1e38, "deep_rate": 1e38, "steps": 6})
    found = last(config, TinySplit())
    assert np.isfinite(found.state.shallow).all()
    assert np.isfinite(found.state.deep).all()
    assert found.record["refused"] or "not_finite" in found.record["diagnostics"]


def test_noise_is_added_to_a_clipped_update():
    quiet = PLAIN.model_copy(update={"clients_per_mediator": 6, "rounds": 1, "clipping_norm": 0.05})
    federation = Federation.of(quiet, TinySplit(), 1)
    start = begin(federation)
    free = advance(Federation.of(quiet.model_copy(update={"clipping_norm": None}), TinySplit(), 1), start)
    clipped = advance(federation, start)
    noisy = advance(Federation.of(quiet.model_copy(update={"noise": 2.0}), TinySplit(), 1), start)
    moved = free.shallow.astype(np.float64) - start.shallow
    assert np.linalg.norm(moved) > 0.05
    np.testing.assert_allclose(clipped.shallow - start.shallow, moved * 0.05 / np.linalg.norm(moved), atol=1e-6)
    drawn = noised(np.zeros_like(start.shallow), 0.05, 2.0, federation.key.fold("noise", 1, 0))
    np.testing.assert_allclose(noisy.shallow - clipped.shallow, drawn, atol=1e-6)
    assert np.array_equal(noisy.deep, clipped.deep)


def test_mediators_weigh_as_much_as_their_rows():
    """Three clients, the third alone under its mediator: the mean update is two to one."""
    config = PLAIN.model_copy(update={"clients_per_mediator": 2, "rounds": 1, "steps": 2})
    task = TinySplit(clients=3)
    federation = Federation.of(config, task, 1)
    state = begin(federation)
    pair, alone = gather(state.counts, 2)
    assert (len(pair), len(alone)) == (2, 1)
    sent = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qfedfm.split.mediator.noised", lambda update, *_: sent.append(update) or update)
        after = advance(federation, state)
    np.testing.assert_allclose(after.shallow - state.shallow, (2 * sent[0] + sent[1]) / 3, atol=1e-6)


def test_features_of_lower_rank_lose_more_and_send_less():
    found = [
        last(TIGHT.model_copy(update={"ratio": ratio, "rounds": 1}), TinySplit()).record for ratio in (0.1, 0.4, 1)
    ]
    lost = [record["diagnostics"]["feature_error"] for record in found]
    sent = [record["traffic"]["core"]["up"]["features"] for record in found]
    assert lost[0] > lost[1] > lost[2] == 0
    assert sent[0] < sent[1] < sent[2]


def test_the_halves_together_are_the_model():
    federation = Federation.of(HFL(cut=1), DIGITS, 1)
    state = last(HFL(cut=1, rounds=1, steps=1), DIGITS).state
    whole = federation.whole(state.shallow, state.deep)
    model = DIGITS.model(Key.of(9))
    load_vector(model, whole)
    rows = federation.tested
    with torch.no_grad():
        outputs = DIGITS.forward(model, DIGITS.collate(rows).inputs).numpy()
    assert DIGITS.metrics(outputs, rows)["accuracy"] == state.history[-1]["accuracy"]
    np.testing.assert_allclose(federation.outputs(state.shallow, state.deep, rows), outputs, atol=1e-5)


@pytest.mark.parametrize("correction", ["none", "projected", "tangent", "exact"])
def test_it_learns(correction):
    config = HFL(
        rounds=8, cut=0, clients_per_mediator=2, ratio=0.3, correction=correction, shallow_rate=0.02, deep_rate=0.02
    )
    rounds = [round_.record for round_ in play(config, TinySplit(), 1)]
    assert rounds[-1]["accuracy"] > max(0.8, rounds[0]["accuracy"])
    assert rounds[-1]["loss"] < 0.6 * rounds[0]["loss"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"ratio": 0}, {"ratio": 1.5}, {"noise": 1.0}, {"noise": -1.0, "clipping_norm": 1.0}, {"rank": 3}, {"steps": 0},
        {"correction": "all"}, {"shallow_rate": np.inf}, {"clipping_norm": 0.0}, {"clients_per_mediator": 2.5},
        {"deep": {"name": "adam"}},
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(pydantic.ValidationError):
        HFL(**wrong)


def test_a_configuration_is_a_value():
    config = HFL(deep={"name": "sgd", "momentum": 0.9})
    assert HFL.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(pydantic.ValidationError):
        config.ratio = 0.1


def test_tasks_that_do_not_fit():
    with pytest.raises(ConfigError, match="cannot be cut"):
        Federation.of(PLAIN, TinyTask(), 1)
    with pytest.raises(ConfigError, match="cut 1"):
        Federation.of(HFL(cut=1), TinySplit(), 1)
    with pytest.raises(ConfigError, match="at most 6"):
        Federation.of(ADAMW.model_copy(update={"clients_per_round": 7}), TinySplit(), 1)
    with pytest.raises(DataError, match="without training rows"):
        Federation.of(PLAIN, Emptied("train"), 1)
    with pytest.raises(DataError, match="without test rows"):
        Federation.of(PLAIN, Emptied("test"), 1)
    with pytest.raises(DataError, match="each in one half"):
        Federation.of(PLAIN, Overlapping(), 1)


class Emptied(TinySplit):
    """Its clients have nothing on one side."""

    def __init__(self, side):
        super().__init__()
        self.side = side

    def split(self, key):
        split = super().split(key)
        return replace(split, **{self.side: dict.fromkeys(split.clients, np.zeros(0, np.int64))})


class Overlapping(TinySplit):
    """A layer that is in both halves."""

    def halves(self, model, cut):
        return replace(super().halves(model, cut), deep=model)
