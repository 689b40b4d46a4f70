"""Runs with seals: the same model to the last bit, honest counts, and no key in anything that stays."""

import dataclasses
import io
import json
import logging
import traceback

import pytest

from qfedfm.core import wire
from qfedfm.core.errors import ConfigError, KeyShortageError, PayloadError, StackError
from qfedfm.core.keyring import Keyring
from qfedfm.core.stack import Bound
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.waves import begin, next_round
from qfedfm.qkd.simulated import SimulatedLinks
from tests.engine.test_rounds import bench
from tests.engine.test_run import contents, interrupt
from tests.engine.test_topology import SPLIT
from tests.engine.tiny import LORA, SETTINGS

SIZE = 15
PAD = {"keys": "qkd", "seal": "one-time-pad"}
SECURITIES = {
    "classical": {"keys": "classical"},
    "qkd": {"keys": "qkd"},
    "hybrid, a key a message": {"keys": "hybrid", "seal": {"name": "aes-gcm", "messages": 1}},
    "pad": PAD,
}
METHODS = {
    "plain": {},
    "scaffold": {"method": {"local": "scaffold", "layers": ["qsgd"]}},
    "down": {"method": {"down": {"name": "top-k", "fraction": 0.2}, "local": "scaffold"}},
    "own seal": {"method": {"layers": [{"name": "error-feedback", "codec": "bfloat16"}, "one-time-pad"]}},
    "ranks": {"task": LORA, "participation": {"capacities": [1.0, 0.5]}},
}


def play(rounds=3, links=None, **changes):
    made = bench(**changes)
    made = dataclasses.replace(made, links=links)
    setting = made.setting(made.experiment.arm(next(iter(made.experiment.methods))), 1, rounds)
    states = begin(made.engine, [setting])
    for _ in range(rounds):
        states.append(next_round(setting, states[-1]))
    return setting, states


NEW = ("keys", "key_bits", "key_bytes", "seal_bytes", "seal_seconds", "fallback_keys")
COUNTS = ("uplink_bytes", "downlink_bytes", "server_seconds", "train_seconds")


def same(record):
    return {name: value for name, value in record.items() if name not in (*NEW, *COUNTS)}


@pytest.mark.parametrize(
    ("method", "security"),
    [
        (method, security)
        for method in METHODS
        for security in SECURITIES
        if method != "own seal" or SECURITIES[security]["keys"] == "qkd"  # its pad takes raw bits only
    ],
)
def test_the_model_is_bit_for_bit_that_of_the_run_without_seals(method, security):
    changes = METHODS[method]
    participation = {"clients_per_round": 4, "dropout": 0.2, "late": 0.2, **changes.get("participation", {})}
    changes = {**changes, "participation": participation}
    _, sealed = play(4, security=SECURITIES[security], **changes)
    unsealed = {**changes, "method": {**changes.get("method", {})}}
    if method == "own seal":
        unsealed["method"]["layers"] = unsealed["method"]["layers"][:1]
    _, plain = play(4, **unsealed)
    for ours, theirs in zip(sealed, plain, strict=True):
        assert ours.model.tobytes() == theirs.model.tobytes()
        assert same(ours.history[-1]) == same(theirs.history[-1])
    added = sum(record["seal_bytes"] for record in sealed[-1].history)
    assert added > 0
    assert sum(record["key_bits"] for record in sealed[-1].history) > 0


def test_the_counts_of_a_run_by_hand():
    """Six clients, all of them in each of three rounds; every message up and down is sealed."""
    message = 4 * SIZE + wire.OVERHEAD
    setting, states = play(3, security=PAD)
    _, plain = play(3)
    for sealed, before in zip(states[-1].history[1:], plain[-1].history[1:], strict=True):
        assert sealed["uplink_bytes"] == before["uplink_bytes"] + 6 * 32 == 6 * (message + 32)
        assert sealed["downlink_bytes"] == before["downlink_bytes"] + 6 * (32 + wire.OVERHEAD)
        assert sealed["seal_bytes"] == 12 * 32
        assert sealed["key_bits"] == 6 * 8 * (32 + 4 * SIZE) + 6 * 8 * (32 + message)
        assert sealed["keys"] == "simulated, not QKD-secure"
        assert sealed["seal_seconds"] > 0
    assert states[0].history[0]["key_bits"] == 0
    assert setting.ends.predicted >= sum(record["key_bits"] for record in states[-1].history)
    setting, states = play(3, security={"keys": "classical"})
    assert [record["key_bits"] for record in states[-1].history] == [0, 12 * 256, 0, 0]
    assert setting.ends.predicted == 12 * 256


def test_a_run_is_refused_before_it_starts_when_the_links_cannot_give_its_keys():
    needed = play(1, security=PAD)[0].ends.predicted
    assert needed == 8 * 6 * (32 + 4 * SIZE + 32 + 4 * SIZE + 2 * wire.OVERHEAD)
    play(1, security={**PAD, "key_bits": needed})
    with pytest.raises(ConfigError, match=f"may need {needed} bits of key with {needed - 1}"):
        play(1, security={**PAD, "key_bits": needed - 1})
    three = {"participation": {"clients_per_round": 3}}
    assert play(1, security=PAD, **three)[0].ends.predicted == needed // 2
    assert play(5, security={"keys": "qkd"}, **three)[0].ends.predicted == 2 * 6 * 256


class Failing:
    """Links that have no key for some parties: on the way down, or on the way up."""

    def __init__(self, silent, up=False):
        self.links, self.silent, self.up = SimulatedLinks(), silent, up

    def end(self, party):
        links = self

        class End:
            label, secret, raw = "a link that fails", True, True

            def fresh(self, peer, size):
                if (party if links.up else peer) in links.silent:
                    raise KeyShortageError("no key", "more", "wait")
                return links.links.end(party).fresh(peer, size)

            def by_id(self, peer, key_id):
                return links.links.end(party).by_id(peer, key_id)

        return End()


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("method", [{}, {"down": "bfloat16"}])
def test_a_client_without_keys_is_left_out_and_the_round_goes_on(up, method):
    failing = Failing({"client-2"}, up)
    _, states = play(2, failing.end, security=PAD, method=method)
    for record in states[-1].history[1:]:
        assert record["participants"] == [0, 1, 3, 4, 5]
        assert [line["client"] for line in record["refused"]] == [2]
        assert "no key" in record["refused"][0]["reason"]
    silent = Failing({f"client-{client}" for client in range(6)}, up)
    _, states = play(1, silent.end, security=PAD, method=method)
    assert states[-1].model.tobytes() == states[0].model.tobytes()
    assert len(states[-1].history[-1]["refused"]) == 6


def test_altered_and_replayed_updates_are_named_and_left_out(monkeypatch):
    original, kept = Bound.receive, {}

    def between(self, payload, mirror, at, keys):
        if at.client == 1:
            body = bytearray(payload)
            body[-1] ^= 1
            payload = wire.frame(bytes(body[wire.OVERHEAD :]), self._frame(at))  # the checksum is right again
        if at.client == 2:
            body = kept.setdefault("body", payload[wire.OVERHEAD :])
            payload = wire.frame(body, self._frame(at))  # of round 1, in every round
        return original(self, payload, mirror, at, keys)

    monkeypatch.setattr(Bound, "receive", between)
    _, states = play(2, security={"keys": "hybrid"})
    refused = [[(line["client"], line["reason"]) for line in record["refused"]] for record in states[-1].history[1:]]
    assert [client for client, _ in refused[0]] == [1]
    assert [client for client, _ in refused[1]] == [1, 2]
    assert "authentic" in refused[0][0][1]
    assert "replayed" in refused[1][1][1]


@pytest.mark.parametrize("security", [{"keys": "hybrid"}, PAD], ids=["hybrid", "pad"])
def test_an_interrupted_run_goes_on_with_a_new_epoch_and_new_keys(tmp_path, monkeypatch, security):
    experiment = Experiment.of({**SETTINGS, "seeds": [1, 2], "security": security})
    experiment.run(tmp_path / "whole")
    interrupt(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(tmp_path / "parts")
    monkeypatch.undo()
    experiment.run(tmp_path / "parts", resume=True)
    whole, parts = (contents(tmp_path / name) for name in ("whole", "parts"))
    for key, value in whole.items():
        if key not in ("results", "history"):
            assert parts[key] == value
    line = json.loads((tmp_path / "parts" / "results.json").read_text())["runs"][0]
    assert line["keys"]
    assert line["key_bits"] > 0
    assert line["predicted_key_bits"] > 0
    assert line["seal_bytes"] > 0


PHOTONS = {
    "base": "lab",
    "pulses": 400_000,
    "reconciliation": "cascade",
    "eavesdropper": {"from_round": 2, "clients": [0]},
}
FELL = {"keys": "qkd", "low": "fallback", "link": {**PHOTONS, "store": 256}}


@pytest.mark.parametrize(
    "security", [{"keys": "hybrid"}, {"keys": "qkd"}, PAD, FELL], ids=["hybrid", "qkd", "pad", "photons"]
)
def test_no_key_stays_in_files_logs_reprs_or_tracebacks(tmp_path, monkeypatch, security):
    """All keys that seals are given, in bytes, in hexadecimal digits and as Python writes them."""
    keys, text = [], io.StringIO()

    def spied(method):
        def call(self, seal, *where, make=bytes):
            return method(self, seal, *where, make=lambda key: (keys.append(key), make(key))[1])

        return call

    monkeypatch.setattr(Keyring, "send", spied(Keyring.send))
    monkeypatch.setattr(Keyring, "receive", spied(Keyring.receive))
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    Experiment.of({**SETTINGS, "security": security}).run(tmp_path / "out")
    setting, states = play(2, security=security)
    for thing in (
        setting,
        states[-1],
        setting.ends,
        setting.ends.client(0),
        setting.bound,
        setting.ends.links("server"),
    ):
        text.write(repr(thing))
    (seal,), ring = setting.bound.stack.seals, setting.ends.server(0)
    sealed = bytearray(seal.seal(b"body", b"identity", setting.ends.client(0)))
    sealed[-1] ^= 1
    with pytest.raises(PayloadError) as caught:
        seal.open(sealed, b"identity", ring)
    text.writelines(traceback.format_exception(caught.value))
    logging.getLogger().removeHandler(handler)
    kept = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(kept) > 4
    assert len(keys) >= 24
    everything = b"".join([*kept, text.getvalue().encode()])
    for key in set(keys):
        assert key not in everything
        assert key.hex().encode() not in everything
        assert repr(key)[2:-1].encode() not in everything


def test_what_cannot_be_protected_is_refused():
    with pytest.raises(ConfigError, match="without keys"):
        play(1, method={"layers": ["aes-gcm"]})
    topology = {
        "task": SPLIT,
        "method": {"topology": {"name": "h-fl", "cut": 0}},
        "participation": {"clients_per_round": 3},
    }
    with pytest.raises(ConfigError, match="clients around one server"):
        play(1, security={"keys": "qkd"}, **topology)
    with pytest.raises(StackError, match="raw bits"):
        play(1, security={"keys": "hybrid", "seal": "one-time-pad"})
    with pytest.raises(ConfigError, match="links of keys"):
        play(1, SimulatedLinks().end, security={"keys": "classical"})
    for wrong in ({"keys": "quantum"}, {"seal": "rot13"}, {"keys": "qkd", "key_bits": 0}, {"key": "qkd"}):
        with pytest.raises(ConfigError):
            Experiment.of({**SETTINGS, "security": wrong})


def test_without_security_nothing_changes():
    plain = Experiment.of(SETTINGS)
    assert plain.digest == Experiment.of({**SETTINGS, "security": {}}).digest
    assert plain.digest != Experiment.of({**SETTINGS, "security": {"keys": "qkd"}}).digest
    assert "security" not in plain.settings
    _, states = play(1)
    assert not set(NEW) & set(states[-1].history[-1])
