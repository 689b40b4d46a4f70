"""Runs under a secure sum: the same model as with fixed point alone, while no single update is there to be seen."""

import itertools
import json
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from qfedfm.core import wire
from qfedfm.core.errors import ConfigError, StackError
from qfedfm.engine import masks
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.uplink import at_of
from qfedfm.engine.waves import begin, next_round
from qfedfm.layers.fixed_point import FixedPoint
from qfedfm.secagg import client as parties
from qfedfm.secagg.server import Server
from qfedfm.secagg.topology import InsecureTopologyWarning
from tests.engine.test_rounds import bench
from tests.engine.test_run import contents, interrupt
from tests.engine.test_security import Failing, play
from tests.engine.tiny import LORA, SETTINGS, TinyTask

BOUND = 2**15 - 1
CODEC = {"name": "fixed-point", "reach": BOUND * 2.0**-15}
"""Steps of 2^-15: sums of a few numbers are exact in float32."""
TASK = {"kind": "python", "factory": "tests.engine.tiny:make", "options": {"clients": 8}}


class Uneven(TinyTask):
    """Clients with 30, 27, 24 … training rows."""

    def split(self, key):
        whole = super().split(key)
        return replace(whole, train={client: rows[: 30 - 3 * client] for client, rows in whole.train.items()})


def make_uneven(**options):
    return Uneven(**options)


UNEVEN = {"kind": "python", "factory": "tests.engine.test_summed:make_uneven"}


def method(*layers, **options):
    return {"layers": [*layers, {"name": "secure-sum", **options}]}


SECURE = method(CODEC)


def same(record):
    counts = ("uplink_bytes", "downlink_bytes", "server_seconds", "train_seconds", "client_weights")
    return {name: value for name, value in record.items() if name not in counts}


def pair(**changes):
    """A run under masks and the same with the codec alone."""
    codec = changes.pop("codec", CODEC)
    options = changes.pop("options", {})
    local = changes.pop("local", "fedavg")
    secure = {**method(codec, **options), "local": local}
    plain = {"layers": [codec], "local": local}
    return play(3, method=secure, **changes), play(3, method=plain, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"local": "scaffold"},
        {"options": {"graph": 6, "ring": 64, "stream": "chacha20", "colluders": 0}},
        {"options": {"topology": "direct", "agreement": False}},
        {"hostile": {"clients": 2}},
        {"hostile": {"clients": 2, "attack": "alie"}},
        {"security": {"keys": "classical", "seal": {"name": "aes-gcm", "messages": 1}}},
        {"participation": {"clients_per_round": 4}, "options": {"colluders": 0}},
    ],
    ids=["complete", "scaffold", "regular", "links", "sign-flip", "alie", "sealed", "sampled"],
)
def test_the_model_is_bit_for_bit_that_of_the_codec_alone(changes):
    """With 4 or 8 equal weights every share is a power of two, so that float32 rounds nothing in the plain mean."""
    (_, secure), (_, plain) = pair(task=TASK, **changes)
    for ours, theirs in zip(secure[1:], plain[1:], strict=True):
        assert ours.model.tobytes() == theirs.model.tobytes()
        record, other = same(ours.history[-1]), same(theirs.history[-1])
        assert {name: record[name] for name in other if "seal" not in name and "key" not in name} == {
            name: other[name] for name in other if "seal" not in name and "key" not in name
        }
        assert ours.history[-1]["client_weights"] is None
        assert ours.history[-1]["uplink_bytes"] > theirs.history[-1]["uplink_bytes"]


def test_the_model_with_other_weights_and_dropouts_is_the_exact_mean(monkeypatch):
    """The step from the whole numbers in Python's integers; the plain run differs by what float32 rounds on its way."""
    inputs, mask = {}, parties.Client.mask

    def noted(self, delivery, q, weight):
        inputs[self.plan.round, self.client] = q.tolist(), weight
        return mask(self, delivery, q, weight)

    monkeypatch.setattr(parties.Client, "mask", noted)
    changes = {"task": UNEVEN, "participation": {"dropout": 0.15, "late": 0.1}}
    (_, secure), (_, plain) = pair(codec={"name": "fixed-point", "reach": 0.3, "bits": 12}, **changes)
    gone = set()
    for before, ours, theirs in zip(secure[:-1], secure[1:], plain[1:], strict=True):
        record = ours.history[-1]
        left = record["participants"]
        gone |= set(record["dropped"])
        weights = {client: inputs[ours.round, client][1] for client in left}
        total = [sum(inputs[ours.round, client][0][i] * weights[client] for client in left) for i in range(15)]
        step = np.asarray(np.array(total) * (0.3 / 2047 / sum(weights.values())), np.float32)
        assert ours.model.tobytes() == (before.model + step).tobytes()
        assert left == theirs.history[-1]["participants"]
        assert record["late"] == []
        np.testing.assert_allclose(ours.model, theirs.model, rtol=0, atol=3e-7)
    assert len(set(weights.values())) > 1
    assert gone


def test_keys_of_seals_are_budgeted_for_all_messages():
    """Six clients, two rounds, a key for each of five messages up and five down, the model among them."""
    security = {"keys": "qkd", "seal": {"name": "aes-gcm", "messages": 1}}
    setting, states = play(2, method=SECURE, security=security)
    used = sum(record["key_bits"] for record in states[-1].history)
    assert setting.ends.predicted == used == 2 * 6 * 10 * 256


@pytest.mark.parametrize("up", [False, True])
def test_a_client_without_keys_for_its_seals_is_left_out(up):
    failing = Failing({"client-2"}, up)
    _, states = play(2, failing.end, method=SECURE, security={"keys": "qkd"})
    for record in states[-1].history[1:]:
        assert record["participants"] == [0, 1, 3, 4, 5]
        assert {line["client"] for line in record["refused"]} == {2}
        assert "no key" in record["refused"][0]["reason"]


def test_a_client_without_keys_for_its_links_is_left_out():
    """Client 0 draws the keys of all its links, and has none: the others have all of theirs."""
    made = bench(method=method(CODEC, topology="direct"))
    setting = made.setting(made.experiment.arm("mean"), 1, 1)
    failing = replace(setting.masks, links=Failing({"client-0"}, up=True).end)
    (state,) = begin(made.engine, [setting])
    record = next_round(replace(setting, masks=failing), state).history[-1]
    assert record["refused"] == [{"client": 0, "reason": "not sent: no key for a link to another client"}]
    assert record["participants"] == [1, 2, 3, 4, 5]


def test_clients_clip_before_they_add(monkeypatch):
    norms, mask, step = [], parties.Client.mask, 2.0**-15

    def noted(self, delivery, q, weight):
        norms.append(np.linalg.norm(q) * step)
        return mask(self, delivery, q, weight)

    monkeypatch.setattr(parties.Client, "mask", noted)
    play(1, method=method({"name": "clip", "clipping_norm": 0.05}, CODEC))
    assert len(norms) == 6
    assert 0.049 < min(norms) <= max(norms) < 0.05 + 15**0.5 * step


def test_bytes_are_the_frames_of_all_messages(monkeypatch):
    """Clients' messages as in tests/secagg, with 60 bytes more for each frame, which claims no samples."""
    frames, frame = [], wire.frame
    monkeypatch.setattr(wire, "frame", lambda body, header: (frames.append(header), frame(body, header))[1])
    _, states = play(1, method=SECURE)
    n, d, head = 6, 15, 60 + 60 + 64
    record = states[-1].history[-1]
    bodies = [64, 112 + 240 * (n - 1), 4 * (d + 1), 32, 48 * n]
    assert record["uplink_bytes"] == n * sum(head + body for body in bodies)
    ids, down = 4 + 4 * n, 60 + 60
    answers = [ids + n * (60 + 64 + 64), ids + (n - 1) * 176, ids, ids + n * (60 + 64 + 32)]
    assert record["downlink_bytes"] == n * (60 + 4 * d) + n * sum(down + body for body in answers)
    assert Counter(header.direction for header in frames) == {wire.UP: 5 * n, wire.DOWN: 4 * n + 1}
    assert {header.samples for header in frames} == {0}
    assert record["refused"] == []


def test_too_few_survivors_leave_the_model_as_it_was_and_the_history_says_why():
    _, states = play(3, method=SECURE, participation={"dropout": 0.5})
    given_up = [state.history[-1] for state in states[1:] if "given_up" in state.history[-1]]
    assert given_up
    for before, after in itertools.pairwise(states):
        record = after.history[-1]
        left = 6 - len(record["dropped"])
        assert ("given_up" in record) == (left < 4)  # (6 + 1) // 2 + 1
        if left < 4:
            assert f"{left} of 6 clients" in record["given_up"]
            assert "at least 4" in record["given_up"]
            assert record["participants"] == []
            assert after.model.tobytes() == before.model.tobytes()
        assert record["uplink_bytes"] > 0


def test_a_round_without_enough_adverts_is_given_up_and_scaffold_forgets_it(monkeypatch):
    monkeypatch.setattr(Server, "_bodies", lambda self, *rest: {})
    _, states = play(2, method={**SECURE, "local": "scaffold"})
    assert "0 of 6 clients advertised" in states[-1].history[-1]["given_up"]
    assert states[-1].model.tobytes() == states[0].model.tobytes()
    assert not states[-1].clients


def test_a_client_that_cannot_be_added_is_named_and_the_others_go_on(monkeypatch):
    original = FixedPoint.integers

    def broken(self, x, at):
        return original(self, x * np.float32("nan") if at.client == 2 else x, at)

    mask = parties.Client.mask

    def altered(self, *rest):
        message = bytearray(mask(self, *rest))
        message[-1] ^= self.client == 4
        return bytes(message)

    monkeypatch.setattr(FixedPoint, "integers", broken)
    monkeypatch.setattr(parties.Client, "mask", altered)
    _, states = play(1, method=SECURE)
    record = states[-1].history[-1]
    assert record["participants"] == [0, 1, 3, 5]
    reasons = {line["client"]: line["reason"] for line in record["refused"]}
    assert set(reasons) == {2, 4}
    assert "not sent" in reasons[2]
    assert "did not sign" in reasons[4]


def test_nothing_that_the_server_can_read_is_a_single_update(monkeypatch):
    """`receive`, the server half for one client, is never reached; neither is a codec's decode."""

    def forbidden(*_):
        raise AssertionError

    monkeypatch.setattr("qfedfm.core.stack.Bound.receive", forbidden)
    monkeypatch.setattr(FixedPoint, "decode", forbidden)
    setting, states = play(2, method=SECURE)
    assert len(states[-1].history[-1]["participants"]) == 6
    with pytest.raises(StackError, match="one update under 'secure-sum'"):
        setting.bound.encode(states[-1].model, at_of(setting, 3, 0, None))


def test_a_resumed_run_goes_on_with_a_new_epoch_and_fresh_keys_to_the_same_model(tmp_path, monkeypatch):
    settings = {**SETTINGS, "seeds": [1, 2], "compare": {"secure": SECURE, "plain": {"layers": [CODEC]}}}
    experiment, epochs = Experiment.of({**settings, "participation": {"dropout": 0.1}}), []
    join = parties.Client.__init__

    def noted(self, plan, *rest):
        epochs.append(plan.epoch)
        join(self, plan, *rest)

    monkeypatch.setattr(parties.Client, "__init__", noted)
    experiment.run(tmp_path / "whole")
    assert set(epochs) == {0}
    with monkeypatch.context() as patch:
        interrupt(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            experiment.run(tmp_path / "parts")
    experiment.run(tmp_path / "parts", resume=True)
    assert set(epochs) == {0, 1}
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_a_round_is_never_played_twice_in_one_epoch():
    setting, states = play(1, method=SECURE)
    with pytest.raises(ConfigError, match="a later round"):
        next_round(setting, states[0])


@pytest.mark.parametrize("options", [{}, {"topology": "direct"}], ids=["agreement", "links"])
def test_no_secret_stays_in_files_or_reprs(tmp_path, monkeypatch, options):
    secrets = []

    def watch(target, name):
        original = getattr(target, name)

        def noted(*rest):
            found = original(*rest)
            secrets.append(found)
            return found

        monkeypatch.setattr(target, name, noted)

    watch(parties.System, "bytes")
    watch(parties, "pair")
    watch(masks.Masks, "pair_keys")
    Experiment.of({**SETTINGS, "method": method(CODEC, **options)}).run(tmp_path / "out")
    setting, states = play(1, method=method(CODEC, **options))
    keys = [one for one in secrets if isinstance(one, bytes)]
    keys += [one.mask for one in secrets if hasattr(one, "mask")]
    keys += [key for one in secrets if isinstance(one, dict) for held in one.values() for key in held.values()]
    keys = {key[start : start + 16] for key in keys if len(key) >= 16 for start in range(0, len(key) - 15, 16)}
    assert len(keys) > 100
    text = repr((setting, setting.masks, setting.masks.parties, states[-1], setting.bound)).encode()
    written = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    for content in (*written, text):
        for key in keys:
            assert key not in content
            assert key.hex().encode() not in content
    assert len(written) > 3


REFUSED = {
    "a reduce that judges": ({**SECURE, "reduce": "median"}, "no single updates"),
    "a personal reduce": ({**SECURE, "reduce": {"name": "cosine-cluster", "models": "each"}}, "no single updates"),
    "a codec that does not add": ({"layers": ["qsgd", "secure-sum"]}, "no sum of its messages"),
    "no codec": ({"layers": ["secure-sum"]}, "no sum of its messages"),
    "error feedback": ({"layers": [{"name": "error-feedback", "codec": CODEC}, "secure-sum"]}, "no sum of its"),
    "a cohort layer": ({"layers": [CODEC, "secure-sum", "nnm"]}, "no single updates"),
    "two of them": ({"layers": [CODEC, "secure-sum", "secure-sum"]}, "two summed layers"),
    "a seal before it": ({"layers": [CODEC, "aes-gcm", "secure-sum"]}, "after seal"),
    "a codec after it": ({"layers": ["secure-sum", CODEC]}, "after summed layer"),
    "a star alone": (method(CODEC, topology="star", agreement=False), "knows all masks"),
    "no secret at all": (method(CODEC, agreement=False), "nobody"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_when_the_experiment_is_read(case):
    changes, reason = REFUSED[case]
    with pytest.raises(StackError, match=reason):
        Experiment.of({**SETTINGS, "method": changes})


SIZES = {
    "a modulus that sums could overflow": ({"method": method({**CODEC, "bits": 28})}, StackError, "modulus 2.32"),
    "too few clients": ({"method": method(CODEC, colluders=6)}, ConfigError, "6 colluders"),
    "a minimum below what is safe": ({"method": method(CODEC, minimum=2)}, ConfigError, "from 4 to 6"),
    "different ranks": (
        {"method": SECURE, "task": LORA, "participation": {"capacities": [1.0, 0.5]}},
        StackError,
        "different ranks",
    ),
    "a selector that looks": ({"method": {**SECURE, "selector": "greedy-choice"}}, StackError, "single updates"),
    "a pad": ({"method": SECURE, "security": {"keys": "qkd", "seal": "one-time-pad"}}, StackError, "budget"),
}


@pytest.mark.parametrize("case", SIZES)
def test_what_an_experiment_is_too_small_for_is_refused_before_it_trains(case):
    changes, error, reason = SIZES[case]
    with pytest.raises(error, match=reason):
        play(1, **changes)
    play(1, method=method({**CODEC, "bits": 22}))


def test_a_star_beside_an_agreement_warns_and_its_keys_are_labelled():
    with pytest.warns(InsecureTopologyWarning, match="knows all masks"):
        _, states = play(1, method=method(CODEC, topology="star"))
    record = states[-1].history[-1]
    assert record["pair_keys"] == "simulated, not QKD-secure"
    assert record["participants"] == list(range(6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        play(1, method=SECURE)


def test_an_experiment_file_names_it(tmp_path):
    path = tmp_path / "masked.toml"
    path.write_text(
        'rounds = 1\ntask = { kind = "python", factory = "tests.engine.tiny:make" }\n[compare.masked]\n'
        'layers = [{ name = "fixed-point", reach = 0.5 }, { name = "secure-sum", colluders = 2 }]\n'
    )
    result = Experiment.load(path, {"engine.device": "cpu"}).run(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "results.json").read_text())["complete"]
    assert result.history[-1]["participants"] == list(range(6))


def test_no_mask_comes_from_the_seed(monkeypatch):
    bodies, masked = [], Server.masked
    monkeypatch.setattr(
        Server, "masked", lambda self, client, message: (bodies.append(message[60:-64]), masked(self, client, message))
    )
    for _ in range(2):
        play(1, method=SECURE)
    assert len(set(bodies)) == len(bodies) == 12
