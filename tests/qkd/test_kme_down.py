"""A link whose feeding fails in a way that nobody foresaw, and answers that the client could not read."""

import logging
import os
from uuid import UUID

import pytest

from qfedfm.core.errors import KeyServiceError, KeyShortageError
from qfedfm.qkd.keystore import Plan
from qfedfm.qkd.kme import link
from qfedfm.qkd.kme.link import Feeder
from qfedfm.qkd.kme.messages import ANSWER, ANSWER_BITS, LABEL, Alive, Key, KeyContainer, packed
from tests.qkd.kmes import running
from tests.qkd.test_kme_links import Tap, eventually

CANARY = "CANARY"


class Box:
    """Hardware whose driver fails when the test says so."""

    def __init__(self):
        self.bits, self.broken, self.asked = b"", False, 0

    def take(self):
        self.asked += 1
        if self.broken:
            raise RuntimeError(f"buffer {CANARY}")
        now, self.bits = self.bits, b""
        return now


def dry():
    return Feeder(lambda: b"", "dry")


def test_an_error_that_nobody_foresaw_is_seen_and_the_link_goes_on(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(link, "_ALIVE", 0.1)
    box = Box()
    with running(tmp_path, {"kme-a": Feeder(box.take, "a box"), "kme-b": dry()}) as kmes:
        alice, bob = kmes.client("sae-a"), kmes.client("sae-b")
        box.bits = os.urandom(96)
        eventually(lambda: alice.status("sae-b").stored_key_count == 3)
        key_id, key = alice.fresh("sae-b", 32)
        box.broken = True
        eventually(lambda: alice.status("sae-b").status_extension["link"] == "down")
        with pytest.raises(KeyShortageError, match="503, the link to kme-b is down"):
            alice.fresh("sae-b", 32)
        assert alice.status("sae-b").stored_key_count == 2
        assert kmes.ask("kme-b", "kme-a", "POST", "/peer/v1/alive", {"runs": []})[1]["link"] == "down"
        asked = box.asked
        eventually(lambda: box.asked > asked + 1)
        assert bob.by_id("sae-a", key_id) == key
        eventually(lambda: bob.status("sae-a").status_extension["link"] == "up here, down at kme-a")
        box.broken, box.bits = False, os.urandom(32)
        eventually(lambda: alice.status("sae-b").stored_key_count == 3)
        for client, sae in ((alice, "sae-b"), (bob, "sae-a")):
            eventually(lambda client=client, sae=sae: client.status(sae).status_extension["link"] == "up")
        assert kmes.ask("kme-b", "kme-a", "POST", "/peer/v1/alive", {"runs": []})[1]["link"] == "up"
        assert bob.by_id("sae-a", alice.fresh("sae-b", 32)[0])
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.name for record in told] == ["qfedfm.qkd.kme.link"]
    assert "down by RuntimeError at test_kme_down.py:" in told[0].getMessage()
    assert CANARY not in caplog.text
    assert not any(record.exc_info for record in told)


def test_more_keys_than_an_answer_holds_are_refused_before_they_are_used_up(tmp_path):
    with running(tmp_path, {"kme-a": dry(), "kme-b": dry()}, capacity=4096) as kmes:
        store, ids = kmes.managers["kme-b"].store, [str(UUID(int=number)) for number in range(9)]
        for key_id in ids:
            numbers = tuple(range(4096))
            store.put("kme-z", False, dict.fromkeys(numbers, os.urandom(32)), "x" * 200)
            store.accept("kme-z", Plan("sae-a", ("sae-b",), 1 << 20, {key_id: numbers}))
        bob = kmes.client("sae-b")
        with pytest.raises(KeyServiceError, match=f"400, keys of too many bits in one request; .* {ANSWER_BITS}"):
            bob.dec_keys("sae-a", ids)
        found = [each for some in (ids[:4], ids[4:8], ids[8:]) for each in bob.dec_keys("sae-a", some).keys]
        assert [str(each.key_ID) for each in found] == ids
        assert {len(each.secret) for each in found} == {1 << 17}


@pytest.mark.parametrize("count", [1, 4, 1000])
def test_the_largest_answer_fits(count):
    """Sizes as uneven as padding makes worst, and a label whose every character takes six in JSON."""
    size = ANSWER_BITS // 8 // count
    keys = tuple(Key(key_ID=UUID(int=0), key=packed(bytes(size))) for _ in range(count))
    answer = KeyContainer(keys=keys, key_container_extension={"label": "\x01" * LABEL})
    assert len(answer.model_dump_json().encode()) <= ANSWER


def test_alive_of_an_earlier_peer_is_up():
    assert Alive.model_validate_json('{"runs": []}').link == "up"


def test_a_slow_source_gives_what_it_has():
    tap = Tap()
    feeder = Feeder(tap.take, "slow", slow=True)
    assert feeder.units(0) == []
    for count, some in ((40, [32]), (0, []), (100, [32, 32, 32]), (0, [])):
        tap.bits = bytes(count)
        assert [len(each) for each in feeder.units(256)] == some
