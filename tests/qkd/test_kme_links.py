"""What becomes of keys when a link runs dry, an end goes away, or an answer is lost; and that none shows anywhere."""

import asyncio
import json
import logging
import os
import threading
import time

import pytest

from qfedfm.core.errors import ConfigError, KeyRefusedError, KeyServiceError, KeyShortageError, PayloadError
from qfedfm.core.key import Key
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.kme.certificates import trial
from qfedfm.qkd.kme.client import KmeClient
from qfedfm.qkd.kme.limits import Limits
from qfedfm.qkd.kme.link import Feeder
from qfedfm.qkd.kme.messages import Key as KeyMessage
from qfedfm.qkd.kme.messages import KeyContainer, parsed
from qfedfm.qkd.kme.settings import Settings
from qfedfm.qkd.vault import MasterKey
from tests.qkd.kmes import SAES, Kmes, running


class Tap:
    """Bits that come when the test lets them."""

    def __init__(self):
        self.bits, self.given = b"", b""

    def take(self):
        now, self.bits = self.bits, b""
        self.given += now
        return now

    def feeder(self):
        return Feeder(self.take, "a tap")


def eventually(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_link_that_runs_dry(tmp_path):
    tap = Tap()
    with running(tmp_path, {"kme-a": tap.feeder()}) as kmes:
        alice = kmes.client("sae-a")
        with pytest.raises(KeyShortageError, match="503, not enough keys are stored"):
            alice.fresh("sae-b", 32)
        tap.bits = os.urandom(2 * 32 + 5)
        eventually(lambda: alice.status("sae-b").stored_key_count == 2)
        with pytest.raises(KeyShortageError):
            alice.enc_keys("sae-b", 3)
        with pytest.raises(KeyShortageError):
            alice.enc_keys("sae-b", 1, 520)
        found = alice.enc_keys("sae-b", 2)
        assert found.keys[0].secret + found.keys[1].secret == tap.given[:64]
        assert found.key_container_extension == {"label": "a tap"}
        assert kmes.ask("sae-a", "kme-a", "GET", "/api/v1/keys/sae-b/enc_keys")[0] == 503
        tap.bits = os.urandom(27)  # with the five that are left, one unit
        eventually(lambda: alice.status("sae-b").stored_key_count == 1)
        assert alice.fresh("sae-b", 32)[1] == tap.given[64:]


def test_a_link_does_not_run_out_of_numbers(tmp_path):
    """2³¹ units are two months at the default rate, and less than a day at a hundred times that."""
    tap = Tap()
    with running(tmp_path, {"kme-a": tap.feeder()}) as kmes:
        alice, bob = kmes.client("sae-a"), kmes.client("sae-b")
        assert kmes.managers["kme-a"].store.number("kme-b", 2**31) == 0
        tap.bits = os.urandom(64)
        eventually(lambda: alice.status("sae-b").stored_key_count == 2)
        key_id, key = alice.fresh("sae-b", 32)
        assert bob.by_id("sae-a", key_id) == key == tap.given[:32]


def test_waits_where_the_settings_say_so(tmp_path):
    tap = Tap()
    with running(tmp_path, {"kme-a": tap.feeder()}, low_keys="wait", patience=15.0) as kmes:
        timer = threading.Timer(0.5, lambda: setattr(tap, "bits", bytes(range(32))))
        timer.start()
        assert kmes.client("sae-a").fresh("sae-b", 32)[1] == bytes(range(32))
        timer.join()


def test_a_store_is_never_fuller_than_its_capacity(tmp_path):
    with running(tmp_path, capacity=5) as kmes:
        kmes.filled(5)
        time.sleep(0.5)
        for name, peer in (("kme-a", "kme-b"), ("kme-b", "kme-a")):
            for ours in (True, False):
                assert len(kmes.managers[name].store.numbers(peer, ours)) == 5


def test_a_restart_keeps_what_was_acknowledged_and_forgets_what_was_given(tmp_path):
    with running(tmp_path) as kmes:
        kmes.filled(8)
        alice, bob = kmes.client("sae-a"), kmes.client("sae-b")
        had, waits = alice.fresh("sae-b", 32), alice.fresh("sae-b", 32)
        assert bob.by_id("sae-a", had[0]) == had[1]
        for name in SAES:
            kmes.stop(name)
            kmes.start(name)
        with pytest.raises(KeyRefusedError):
            bob.by_id("sae-a", had[0])
        assert bob.by_id("sae-a", waits[0]) == waits[1]
        kmes.filled(8)
        assert alice.fresh("sae-b", 32)[1] not in (had[1], waits[1])


def test_an_end_that_is_away(tmp_path):
    """The key is burnt, the link says so, and when the end is back both stores hold the same again."""
    taps = {name: Tap() for name in SAES}
    with running(tmp_path, {name: tap.feeder() for name, tap in taps.items()}) as kmes:
        taps["kme-a"].bits = os.urandom(320)
        alice, store = kmes.client("sae-a"), kmes.managers["kme-a"].store
        eventually(lambda: store.free("kme-b") == 10)
        kmes.stop("kme-b")
        spare = kmes.sockets.pop("kme-b")
        spare.close()  # or connections would wait in its backlog
        with pytest.raises(KeyShortageError, match="503, the keys could not be committed at both KMEs"):
            alice.fresh("sae-b", 32)
        assert store.free("kme-b") == 9
        taps["kme-a"].bits = os.urandom(32)
        eventually(lambda: "does not answer" in alice.status("sae-b").status_extension["link"])
        kmes.sockets["kme-b"] = type(spare)()
        kmes.sockets["kme-b"].setsockopt(1, 2, 1)  # SO_REUSEADDR
        kmes.sockets["kme-b"].bind(("127.0.0.1", kmes.ports["kme-b"]))
        kmes.sockets["kme-b"].listen()
        kmes.start("kme-b")
        other = kmes.managers["kme-b"].store
        eventually(lambda: store.numbers("kme-b", True) == other.numbers("kme-a", False))
        eventually(lambda: alice.status("sae-b").status_extension["link"] == "up")
        eventually(lambda: store.free("kme-b") == 10)  # one burnt, one that waited in the tap
        key_id, key = alice.fresh("sae-b", 32)
        assert kmes.client("sae-b").by_id("sae-a", key_id) == key


def test_a_confirmation_that_is_lost_burns_the_key(tmp_path, monkeypatch):
    """The other end has committed, this one does not know: the unit must never be given, at either end."""
    tap = Tap()
    with running(tmp_path, {"kme-a": tap.feeder()}) as kmes:
        tap.bits = os.urandom(96)
        manager, other = kmes.managers["kme-a"], kmes.managers["kme-b"].store
        eventually(lambda: manager.store.free("kme-b") == 3)
        link = manager.links["kme-b"]
        assign = link.assign

        async def lost(plan):
            await assign(plan)
            raise KeyServiceError("the answer is lost")

        monkeypatch.setattr(link, "assign", lost)
        with pytest.raises(KeyShortageError):
            kmes.client("sae-a").fresh("sae-b", 32)
        monkeypatch.undo()
        assert (manager.store.free("kme-b"), other.numbers("kme-a", False), other.waiting()) == (2, [1, 2], 1)
        found = kmes.client("sae-a").enc_keys("sae-b", 2)
        assert [each.secret for each in found.keys] == [tap.given[32:64], tap.given[64:]]


def test_a_reservation_that_ran_out_gives_no_key(tmp_path, monkeypatch):
    with running(tmp_path) as kmes:
        kmes.filled(4)
        manager = kmes.managers["kme-a"]
        assign = manager.links["kme-b"].assign

        async def slow(plan):
            await assign(plan)
            await asyncio.to_thread(manager.store.abandon, "kme-b", plan)

        monkeypatch.setattr(manager.links["kme-b"], "assign", slow)
        with pytest.raises(KeyShortageError, match="503"):
            kmes.client("sae-a").fresh("sae-b", 32)


def test_canary_keys_show_nowhere(tmp_path, caplog, monkeypatch):
    canary = b"\xfaCANARY-KEY-THAT-MUST-NOT-SHOW!\xfb"
    assert len(canary) == 32
    feeder = Feeder(lambda: canary * 4, "canaries")
    caplog.set_level(logging.DEBUG)
    texts = []
    with running(tmp_path, dict.fromkeys(SAES, feeder)) as kmes:
        kmes.filled(4)
        alice, bob = kmes.client("sae-a"), kmes.client("sae-b")
        container = alice.enc_keys("sae-b", 2)
        assert container.keys[0].secret == canary
        bob.dec_keys("sae-a", [str(each.key_ID) for each in container.keys])
        manager = kmes.managers["kme-a"]
        given = []

        def broken(*words):
            given.extend(type(manager.store).give(manager.store, *words))
            raise RuntimeError("an error nobody thought of")

        monkeypatch.setattr(manager.store, "give", broken)
        with pytest.raises(KeyServiceError) as failed:
            alice.fresh("sae-b", 32)
        assert given[0].secret == canary
        texts += [repr(each) for each in (given, container, feeder, manager, manager.store, vars(manager.store), alice)]
        texts += [str(failed.value)]
    body = json.dumps({"keys": [{"key_ID": "x", "key": canary.hex()}, {"key": 3}]}).encode()
    for kind in (KeyContainer, KeyMessage):
        with pytest.raises(PayloadError) as wrong:
            parsed(kind, body)
        texts.append(f"{wrong.value!s} {wrong.value!r}")
    texts += [record.getMessage() + (caplog.text or "") for record in caplog.records]
    assert any("an error nobody thought of" in text for text in texts)
    forms = ["CANARY", "Q0FOQVJZ", "NBTkFSW", "DQU5BUl", canary.hex(), canary.hex().upper()]
    assert [form for form in forms for text in texts if form in text] == []
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"CANARY" not in everything


def test_feeders_give_every_bit_once():
    source = iter(range(1 << 20))
    feeder = Feeder(lambda: next(source).to_bytes(8, "big") * 3, "counting")
    found = []
    threads = [
        threading.Thread(target=lambda: found.extend(unit for _ in range(20) for unit in feeder.units(7)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == len(found) == 4 * 20 * 7
    assert {len(unit) for unit in found} == {32}
    assert "INSECURE" in Feeder.simulated(Seeded(Key.of(1))).label
    assert Feeder(lambda: b"", "dry").units(3) == []


def test_settings_that_are_wrong(tmp_path):
    paths = trial(tmp_path, {"kme-a": ["sae-a"], "kme-b": ["sae-b"], "kme-c": ["sae-c"]})
    found = [Settings.load(path) for path in paths]
    assert [[peer.id for peer in each.peers] for each in found] == [
        ["kme-b", "kme-c"],
        ["kme-a", "kme-c"],
        ["kme-a", "kme-b"],
    ]
    assert found[1].address == ("127.0.0.1", 8444)
    assert MasterKey.load(found[0].master_key) != MasterKey.load(found[1].master_key)
    modes = {path.suffix: path.stat().st_mode & 0o077 for path in tmp_path.iterdir() if path.suffix != ".crt"}
    assert set(modes.values()) == {0}
    good = found[0].model_dump()
    for change, words in (
        ({"saes": ["sae-a", "sae-b"]}, "sae-b twice"),
        ({"saes": ["kme-b"]}, "kme-b twice"),
        ({"saes": ["../etc"]}, "saes"),
        ({"listen": "nowhere"}, "host:port"),
        ({"peers": [{"id": "k", "url": "http://x:1", "saes": ["s"]}]}, "https://host:port"),
        ({"peers": []}, "peers"),
        ({"low_keys": "pray"}, "low_keys = 'pray'"),
        ({"rat": 3}, "did you mean 'rate'"),
    ):
        with pytest.raises(ConfigError, match=words):
            Settings.of({**good, **change})
    with pytest.raises(ConfigError, match="no 'store'; expected a value; add it to the settings of the key manager"):
        Settings.of({name: value for name, value in good.items() if name != "store"})
    with pytest.raises(ConfigError, match="there already"):
        trial(tmp_path, {"kme-a": ["sae-a"], "kme-b": ["sae-b"]})
    with pytest.raises(ConfigError, match="at least two"):
        trial(tmp_path / "one", {"kme-a": ["sae-a"]})
    with pytest.raises(ConfigError, match="cannot be read"):
        Settings.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "given",
    [
        {"key_size": 100},
        {"min_key_size": 512},
        {"max_key_size": 10**6},
        {"max_key_per_request": 0},
        {"min_key_size": 0},
    ],
    ids=lambda given: next(iter(given)),
)
def test_limits_that_no_message_could_hold(given):
    with pytest.raises(ConfigError):
        Limits(**given)


def test_an_address_that_is_none(tmp_path):
    kmes = Kmes(tmp_path)
    for url in ("http://127.0.0.1:1", "127.0.0.1:1", "https://", "https://a:1/?x=1", "https://me@a:1"):
        with pytest.raises(ConfigError, match="https://host:port"):
            KmeClient(url, kmes.credentials("sae-a"))
    kmes.sockets["kme-a"].close()
    with pytest.raises(KeyServiceError, match="does not answer"):
        kmes.client("sae-a").status("sae-b")
    with pytest.raises(ConfigError, match="certificates"):
        KmeClient("https://127.0.0.1:1", kmes.credentials("sae-none")).status("sae-b")
    kmes.close()
