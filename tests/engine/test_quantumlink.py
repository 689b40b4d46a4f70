"""An eavesdropper appears in round 3: what each policy makes of it, and what the history says."""

import dataclasses
import math

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.keyring import Keyring
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.quantumlink import Eavesdropping, Fibres, QuantumLink
from qfedfm.qkd.channel import Channel
from qfedfm.qkd.proof import Reason
from qfedfm.qkd.simulated import SimulatedLinks
from tests.engine.test_run import contents, interrupt
from tests.engine.test_security import play, same
from tests.engine.tiny import SETTINGS
from tests.qkd.phases import Genie

PULSES, RATE = 200_000, 1e8
LINK = {"base": "lab", "pulses": PULSES, "pulse_rate": RATE}
TAPPED = {**LINK, "store": 512, "retries": 2, "eavesdropper": {"from_round": 3, "clients": [1, 4]}}
EACH = {"name": "aes-gcm", "messages": 1}
MESSAGES = 2 * 6
"""Of a round with all six clients, down and up."""
BUILD = QuantumLink.build


def stand_in(monkeypatch):
    """Physics, sifting, test, amplification and authentication are real; only reconciliation is not."""

    def build(self):
        made = BUILD(self)
        return dataclasses.replace(made, session=dataclasses.replace(made.session, reconciler=Genie()))

    monkeypatch.setattr(QuantumLink, "build", build)


@pytest.fixture(autouse=True)
def genie(monkeypatch):
    stand_in(monkeypatch)


def security(low="refuse", keys="qkd", link=TAPPED, seal=EACH):
    return {"keys": keys, "seal": seal, "low": low, "link": link}


@pytest.mark.parametrize("keys", ["qkd", "hybrid"])
@pytest.mark.parametrize(("low", "tries"), [("refuse", 1), ("wait", 3), ("fallback", 1)])
def test_the_run_goes_on_by_policy_and_history_shows_it(keys, low, tries):
    setting, states = play(4, security=security(low, keys))
    _, plain = play(4)
    for record, sealed, unsealed in zip(states[-1].history[1:], states[1:], plain[1:], strict=True):
        tapped = record["round"] >= 3
        aborted = [session["client"] for session in record["aborted"]]
        assert record["seal_seconds"] > 0
        assert record["simulation_seconds"] > 0
        assert len(record["participants"]) == (4 if tapped and low != "fallback" else 6)
        assert record["key_bits"] == 256 * (2 * len(record["participants"]))
        assert record["seal_bytes"] == 40 * 2 * len(record["participants"])
        assert (record["key_bytes"] > 0) == (keys == "hybrid" or (tapped and low == "fallback"))
        if not tapped:
            assert not aborted
            assert not record["refused"]
            assert record["qber"] < 0.03
            assert record["fallback_keys"] == 0
            assert "fallback" not in record["keys"]
            assert sealed.model.tobytes() == unsealed.model.tobytes()
            continue
        ways = 2 if low == "fallback" else 1
        assert sorted(aborted) == sorted([1, 4] * tries * ways)
        for session in record["aborted"]:
            assert session["reason"] == Reason.ERRORS.value
            assert session["qber"] == pytest.approx(0.25, abs=0.06)  # 5 σ of at least 1300 tested bits
        if low == "fallback":
            assert record["fallback_keys"] == 4
            assert "keys by fallback: X25519 and ML-KEM-768" in record["keys"]
            assert sealed.model.tobytes() == unsealed.model.tobytes()
            assert same_but_link(record) == same_but_link(unsealed.history[-1])
        else:
            assert record["participants"] == [0, 2, 3, 5]
            assert [line["client"] for line in record["refused"]] == [1, 4]
            assert all("error rate too high" in line["reason"] for line in record["refused"])
            assert record["fallback_keys"] == 0
    assert setting.ends.label.startswith("simulated" if keys == "qkd" else "ML-KEM-768 and a link that is simulated")


LINK_FIELDS = (
    "link_sessions", "link_bits", "link_bytes", "link_seconds", "session_seconds", "simulation_seconds", "qber",
    "aborted",
)  # fmt: skip


def same_but_link(record):
    return {name: value for name, value in same(record).items() if name not in LINK_FIELDS}


def test_seconds_of_the_link_are_bits_over_secret_rate():
    setting, states = play(2, security=security(link=LINK))
    first, second = states[-1].history[1:]
    assert first["link_sessions"] == 6
    assert second["link_sessions"] == 0  # the stores still hold enough
    assert first["session_seconds"] == 6 * PULSES / RATE
    rate = first["link_bits"] / (6 * PULSES)
    assert 0 < rate < 0.1 * (0.7**2)  # no more than clicks in the key basis
    for record in (first, second):
        assert record["link_seconds"] == pytest.approx(record["key_bits"] / (rate * RATE))
    made = [one.account.net for one in setting.ends.sources.drawn.ran]
    assert first["link_bits"] == sum(made)
    assert first["link_bytes"] == sum(one.bytes for one in setting.ends.sources.drawn.ran)
    assert 0 < first["seal_seconds"] < first["simulation_seconds"]


@pytest.mark.parametrize("seal", [EACH, "one-time-pad"])
def test_used_key_bits_are_those_that_were_predicted(seal):
    """Every client takes part in all rounds; the pad's prediction holds room for a longer header."""
    link = {**LINK, "pulses": 2 * PULSES}
    setting, states = play(2, security=security(link=link, seal=seal))
    used, predicted = sum(record["key_bits"] for record in states[-1].history), setting.ends.predicted
    if seal == EACH:
        assert used == predicted == 2 * MESSAGES * 256
    else:
        assert 0.8 * predicted < used <= predicted
    assert setting.ends.sources.drawn.taken == used


def test_only_a_fallback_that_was_asked_for_and_never_under_a_pad():
    with pytest.raises(StackError, match="raw bits"):
        play(1, security={**security("fallback"), "seal": "one-time-pad"})
    for wrong in (
        {"keys": "classical", "low": "fallback"},
        {"keys": "classical", "link": {}},
        {"low": "wait"},
        {"keys": "qkd", "low": "never"},
        {"keys": "qkd", "link": {"store": 12}},
        {"keys": "qkd", "link": {"pulses": 999}},
        {"keys": "qkd", "link": {"p_z": 1.0}},
        {"keys": "qkd", "link": {"p_z": "best"}},
        {"keys": "qkd", "link": {"distance": -1.0}},
        {"keys": "qkd", "link": {"base": "moon"}},
        {"keys": "qkd", "link": {"eavesdropper": {"name": "cat"}}},
        {"keys": "qkd", "link": {"eavesdropper": {"share": 0.0}}},
    ):
        with pytest.raises(ConfigError):
            Experiment.of({**SETTINGS, "security": wrong})
    with pytest.raises(ConfigError, match="beside"):
        play(1, SimulatedLinks().end, security=security())


def test_links_of_the_users_own_fall_back_too():
    """Rounds in memory take links; those without keys fall back only where that was asked for."""

    class Dry:
        label, secret, raw = "a link", True, True

        def fresh(self, peer, size):
            from qfedfm.core.errors import KeyShortageError

            raise KeyShortageError("no key")

        def by_id(self, peer, key_id):
            raise NotImplementedError

    for low, everybody in (("refuse", []), ("fallback", [0, 1, 2, 3, 4, 5])):
        experiment = Experiment.of({**SETTINGS, "rounds": 1, "security": {"keys": "qkd", "low": low}})
        *_, last = experiment.rounds(links=lambda party: Dry())
        assert last.record["participants"] == everybody
        assert last.record["fallback_keys"] == 2 * len(everybody)
        assert "link_seconds" not in last.record


def test_a_resumed_run_has_new_sessions_and_new_keys(tmp_path, monkeypatch):
    keys, send = [], Keyring.send

    def spied(self, *where, make):
        return send(self, *where, make=lambda key: (keys.append(key), make(key))[1])

    monkeypatch.setattr(Keyring, "send", spied)
    experiment = Experiment.of({**SETTINGS, "security": security("fallback")})
    Experiment.of(SETTINGS).run(tmp_path / "unsealed")
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            experiment.run(tmp_path / "parts")
    before = len(keys)
    result = experiment.run(tmp_path / "parts", resume=True)
    assert 0 < before < len(keys)
    assert len(set(keys)) == len(keys)
    (line,) = result.results["runs"]
    assert line["fallback_keys"] == 4
    assert line["aborted_sessions"] == 4
    assert line["keys"] == "simulated, not QKD-secure"
    assert line["link_seconds"] == pytest.approx(sum(record["link_seconds"] for record in result.history))
    unsealed, parts = (contents(tmp_path / name) for name in ("unsealed", "parts"))
    models = unsealed.keys() - {"results", "history"}
    assert len(models) == 2
    assert all(unsealed[key] == parts[key] for key in models)


@pytest.mark.parametrize(("share", "qber"), [(1.0, 0.5), (0.5, (1 - math.cos(math.pi / 4)) / 2)])
def test_the_probe_disturbs_by_its_angle(share, qber):
    link = QuantumLink(**LINK, eavesdropper=Eavesdropping(name="entangling-probe", share=share, from_round=2))
    fibres = Fibres(link, round=1)
    assert fibres("client-0", "server", Channel()).account.reason is None
    fibres.round = 2
    account = fibres("client-0", "server", Channel()).account
    sigma = math.sqrt(qber * (1 - qber) / account.seen.test)
    assert account.qber == pytest.approx(qber, abs=0.005 + 5 * sigma)  # and half a percent of misalignment
    assert account.reason is Reason.ERRORS


def test_a_distance_replaces_that_of_the_base():
    assert QuantumLink(base="metro").fibre().distance == 25.0
    far = QuantumLink(base="metro", distance=50.0).fibre()
    assert far.transmittance == pytest.approx(QuantumLink(base="lab").fibre().transmittance * 10 ** (-0.2 * 50 / 10))
    few = Fibres(QuantumLink(**{**LINK, "distance": 200.0}))("client-0", "server", Channel())
    assert few.account.reason is Reason.TOO_FEW_BITS
    assert not np.any(few.alice)
