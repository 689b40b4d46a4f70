"""Links whose units come out of sessions: with nobody on the fibre, and with somebody."""

import dataclasses
import logging

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError, KeyShortageError
from qfedfm.core.key import Key
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.kme.quantum import Quantum, Sessions
from qfedfm.qkd.kme.settings import Settings
from tests.qkd.kmes import SAES, Kmes
from tests.qkd.test_kme_links import eventually

TABLE = {"protocol": "bb84", "link": "lab", "distance": 1.0, "pulses": 600_000}


def settings_with(kmes, name, **table):
    """As a user would have them: a table in the file, read again."""
    path = kmes.folder / f"{name}.toml"
    rows = [f"{key} = {value!r}" for key, value in table.items()]
    path.write_text("\n".join([path.read_text(), "[peers.quantum]", *rows, ""]))
    read = Settings.load(path).peers
    had = kmes.settings[name]
    peers = tuple(peer.model_copy(update={"quantum": new.quantum}) for peer, new in zip(had.peers, read, strict=True))
    kmes.settings[name] = had.model_copy(update={"peers": peers})


@pytest.fixture
def kmes(tmp_path):
    found = Kmes(tmp_path, capacity=64)
    yield found
    found.close()


@pytest.mark.slow
def test_keys_out_of_sessions(kmes):
    settings_with(kmes, "kme-a", **TABLE)
    for name in SAES:
        kmes.start(name)
    alice, bob = kmes.client("sae-a"), kmes.client("sae-b")
    eventually(lambda: alice.status("sae-b").stored_key_count >= 8, 60)
    eventually(lambda: alice.status("sae-b").status_extension == {"label": "simulated, not QKD-secure", "link": "up"})
    found = alice.enc_keys("sae-b", 8)
    assert found.key_container_extension == {"label": "simulated, not QKD-secure"}
    keys = {str(each.key_ID): each.secret for each in found.keys}
    assert {str(each.key_ID): each.secret for each in bob.dec_keys("sae-a", list(keys)).keys} == keys
    assert len(set(keys.values())) == 8
    kmes.filled(8)  # the other direction has the operating system's bits


def test_an_eavesdropper_empties_the_store(kmes, caplog):
    caplog.set_level(logging.WARNING)
    settings_with(kmes, "kme-a", **TABLE, eavesdropper="intercept-resend")
    for name in SAES:
        kmes.start(name)
    alice = kmes.client("sae-a")
    eventually(lambda: "error rate too high" in alice.status("sae-b").status_extension["link"], 60)
    status = alice.status("sae-b")
    assert status.stored_key_count == 0
    assert "no key from the link of kme-a and kme-b: error rate too high (" in status.status_extension["link"]
    with pytest.raises(KeyShortageError, match="503, not enough keys are stored"):
        alice.fresh("sae-b", 32)
    told = [record for record in caplog.records if "error rate too high" in record.getMessage()]
    assert {record.name for record in told} == {"qfedfm.qkd.kme.link"}
    eventually(lambda: kmes.client("sae-b").status("sae-a").stored_key_count > 0)


def test_the_bits_are_those_of_the_session_less_what_authentication_took():
    """The same seed run by hand gives the key that the units are cut from."""
    quantum = Quantum(**TABLE)
    bits = Sessions(quantum, "a and b", Seeded(Key.of(1))).take()
    done = quantum.chain.run(quantum.attack, Seeded(Key.of(1)))
    assert 0 < done.account.authentication < done.account.bits
    assert len(bits) == done.account.net // 8
    for party in (done.alice, done.bob):
        tail = party[done.account.authentication :]
        assert (np.unpackbits(np.frombuffer(bits, np.uint8)) == tail[: len(bits) * 8]).all()


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"eavesdropper": "man-in-the-middle"}, "a message was not authentic"),
        ({"eavesdropper": "entangling-probe"}, "error rate too high"),
        ({"protocol": "b92", "pulses": 20_000}, "no proof"),
        ({"distance": 300.0, "pulses": 20_000}, "too few bits"),
    ],
    ids=["between", "probe", "b92", "far"],
)
def test_a_session_that_aborts_says_why(table, reason):
    with pytest.raises(KeyShortageError, match=f"no key from the link of a and b: {reason}"):
        Sessions(Quantum(**{**TABLE, **table}), "a and b", Seeded(Key.of(2))).take()


def test_a_session_that_costs_what_it_gives_is_none(monkeypatch):
    quantum = Quantum(**TABLE)
    done = quantum.chain.run(quantum.attack, Seeded(Key.of(3)))
    poor = dataclasses.replace(done, account=dataclasses.replace(done.account, authentication=done.account.bits - 7))
    monkeypatch.setattr(type(quantum.chain), "run", lambda *_: poor)
    with pytest.raises(KeyShortageError, match=r"owed; .*send more pulses"):
        Sessions(quantum, "a and b").take()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"protocol": "bb48"}, "did you mean 'bb84'"),
        ({"protcol": "bb84"}, "did you mean 'protocol'"),
        ({"link": "metre"}, "did you mean 'metro'"),
        ({"distance": -1.0}, "distance -1.0"),
        ({"pulses": 999}, "peers.0.quantum.pulses = 999"),
        ({"eavesdropper": "eve"}, "eavesdropper 'eve'"),
        ({"eavesdropper": "photon-number-splitting"}, "decoy-bb84"),
        ({"eavesdropper": "intercept-resend:2"}, "0 to 1"),
    ],
    ids=["protocol", "key", "link", "distance", "pulses", "eve", "misfit", "share"],
)
def test_settings_that_are_wrong(kmes, table, said):
    with pytest.raises(ConfigError) as wrong:
        settings_with(kmes, "kme-a", **{**TABLE, **table})
    assert said in str(wrong.value)
