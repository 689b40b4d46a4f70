"""The way down as differences: every client reconstructs the same model, whatever it missed, and all bytes count."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core import wire
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.engine.chain import Chain, Way, follow
from qfedfm.engine.state import load, save
from qfedfm.engine.waves import next_round
from tests.engine.test_rounds import play
from tests.engine.test_run import without_times

LAYOUT = qf.Layout.of({"w": (40, 50)})
CODECS = [
    qf.layers.Bfloat16(),
    qf.layers.TopK(fraction=0.05),
    qf.layers.Ecdq(bits=2.0),
    qf.layers.ErrorFeedback(qf.layers.TopK(fraction=0.05)),
]


def walk(way, rounds=12, seed=0):
    """A server's model that moves, and its chain after each round."""
    rng, model, chain = np.random.default_rng(seed), np.zeros(LAYOUT.size, np.float32), Chain()
    chains, models = [chain], [model]
    for number in range(1, rounds + 1):
        chains.append(chains[-1].advanced(models[-1], number, way))
        models.append((models[-1] + rng.normal(size=LAYOUT.size) * 0.8**number).astype(np.float32))
    return chains, models


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_whoever_missed_rounds_comes_to_the_same_bits(codec):
    way = Way(codec, LAYOUT, qf.Key.of(1))
    chains, models = walk(way)
    np.testing.assert_array_equal(chains[1].model, models[0])  # the first message is the whole model
    for missed in (1, 2, 3):
        for start in range(1, 12 - missed):
            last = chains[start + missed].received([], 0)
            known = replace(last, versions={7: start})
            lacking = known.missing(7, start + missed)
            if lacking is not None:
                assert len(lacking) == missed
                numbered = dict(enumerate(lacking, start + 1))
                np.testing.assert_array_equal(follow(chains[start].model, numbered, way), last.model)
    assert chains[5].missing(8, 5) is None  # never seen before


def test_messages_are_kept_while_they_are_shorter_than_the_model():
    whole = 4 * LAYOUT.size + wire.OVERHEAD
    for codec in CODECS:
        for chain in walk(Way(codec, LAYOUT, qf.Key.of(1)))[0][2:]:
            assert max(chain.payloads) - min(chain.payloads) == len(chain.payloads) - 1
            assert sum(map(len, chain.payloads.values())) <= whole


def test_the_reconstruction_comes_to_a_model_that_settles():
    """A biased codec leaves nothing out for good, since each difference is to what clients have."""
    way = Way(qf.layers.TopK(fraction=0.05), LAYOUT, qf.Key.of(1))
    target, chain = np.random.default_rng(2).normal(size=LAYOUT.size).astype(np.float32), Chain()
    chain = chain.advanced(np.zeros_like(target), 1, way)
    for number in range(2, 23):
        chain = chain.advanced(target, number, way)
    np.testing.assert_allclose(chain.model, target, atol=1e-6)


def test_a_message_of_another_round_or_codec_is_refused():
    way = Way(qf.layers.Bfloat16(), LAYOUT, qf.Key.of(1))
    chains, _ = walk(way, 3)
    payload = chains[3].payloads[3]
    with pytest.raises(PayloadError, match="round"):
        follow(chains[1].model, {2: payload}, way)
    with pytest.raises(PayloadError, match="stack"):
        follow(chains[2].model, {3: payload}, replace(way, codec=qf.layers.TopK(fraction=0.5)))


def test_bytes_of_a_run_with_partial_participation():
    """Counted again from who was there when: the first time the whole, then what was missed or the whole."""
    method = {"down": "bfloat16"}
    _, states = play(6, method=method, participation={"clients_per_round": 3, "dropout": 0.3})
    whole, step = 4 * 15 + wire.OVERHEAD, 2 * 15 + wire.OVERHEAD
    seen = {}
    for after in states[1:]:
        record, number = after.history[-1], after.round
        invited = [*record["participants"], *record["dropped"]]
        expected = 0
        for client in invited:
            missed = number - seen[client] if client in seen and number > 1 else None
            expected += whole if missed is None else min(whole, missed * step)
        assert record["downlink_bytes"] == expected
        seen |= dict.fromkeys(record["participants"], number)
        assert after.chain.versions == seen


def test_clients_start_from_what_they_have_reconstructed(monkeypatch):
    starts, train = [], SequentialEngine.train

    def watched(self, jobs):
        starts.append([job.start for job in jobs])
        return train(self, jobs)

    monkeypatch.setattr(SequentialEngine, "train", watched)
    _, states = play(3, method={"down": {"name": "top-k", "fraction": 0.2}})
    for number, after in enumerate(states[1:]):
        assert all(np.array_equal(start, after.chain.model) for start in starts[number])
    assert not np.array_equal(states[2].chain.model, states[1].model)


@pytest.mark.parametrize(
    "method", [{"down": "bfloat16"}, {"down": {"name": "top-k", "fraction": 0.2}, "local": "scaffold"}]
)
def test_a_round_from_a_checkpoint_is_the_round_without_one(tmp_path, method):
    setting, states = play(4, method=method, participation={"clients_per_round": 4, "late": 0.3})
    for before, after in itertools.pairwise(states):
        save(tmp_path / "state", before, {})
        again = next_round(setting, load(tmp_path / "state", {}))
        save(tmp_path / "again", replace(again, history=()), {})
        save(tmp_path / "after", replace(after, history=()), {})
        assert (tmp_path / "again").read_bytes() == (tmp_path / "after").read_bytes()
        assert without_times(again.history[-1]) == without_times(after.history[-1])


def test_what_does_not_go_down_is_refused():
    with pytest.raises(ConfigError, match="no memory"):
        play(1, method={"down": {"name": "ef21", "codec": "bfloat16"}})
    with pytest.raises(ConfigError, match="one model for all"):
        play(1, method={"down": "bfloat16", "reduce": {"name": "cosine-cluster", "models": "each"}})
