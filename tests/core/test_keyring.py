"""A ring numbers what it sends, takes each message once, and does not let itself be copied."""

import copy
import pickle

import pytest

from qfedfm.core.errors import PayloadError, StackError
from qfedfm.core.keyring import Keyring, RawKeySource
from qfedfm.core.keys import SharedMemory
from qfedfm.core.wire import Frame
from qfedfm.qkd.simulated import SimulatedLinks


def pair():
    memory = SharedMemory()
    return Keyring(memory.end("client"), "server", b"run"), Keyring(memory.end("server"), "client", b"run")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps], ids=["copy", "deepcopy", "pickle"])
def test_a_ring_is_neither_copied_nor_saved(duplicate):
    ring = pair()[0]
    ring.send("seal", 32, 10)
    with pytest.raises(StackError, match="copy of a keyring"):
        duplicate(ring)


def test_each_seal_has_its_own_key_and_each_direction_too():
    client, server = pair()
    turns = [ring.send(name, 32, 10) for ring in (client, server) for name in ("one", "other")]
    assert len({turn.key for turn in turns}) == 4
    assert [turn.number for turn in turns] == [0] * 4
    again = client.send("one", 32, 10)
    assert (again.key, again.number) == (turns[0].key, 1)


def test_what_a_seal_makes_of_a_key_is_made_once_at_each_end():
    client, server = pair()
    made = []

    def make(key):
        made.append(key)
        return ["a cipher"]

    turns = [client.send("seal", 32, 10, make=make) for _ in range(3)]
    assert len({id(turn.key) for turn in turns}) == len(made) == 1
    found = []
    for turn in turns:
        found.append(server.receive("seal", turn.key_id, turn.number, 32, make=make))
        server.accept("seal", turn.key_id, turn.number, last=False)
    assert len({id(one) for one in found}) == 1
    assert made == [made[0]] * 2
    with pytest.raises(PayloadError, match="each once, in order"):
        server.receive("seal", turns[1].key_id, 1, 32, make=make)


def test_a_key_that_somebody_named_first_still_opens_the_true_message():
    """The id travels in the open, so a false message may carry it; nothing is given up for one."""
    client, server = pair()
    first, second = (client.send("seal", 32, 1) for _ in range(2))
    assert server.receive("seal", second.key_id, 0, 32) == second.key
    with pytest.raises(PayloadError, match="another length"):
        server.receive("seal", second.key_id, 0, 33)
    assert server.receive("seal", first.key_id, 0, 32) == first.key
    server.accept("seal", first.key_id, 0, last=True)
    assert server.receive("seal", second.key_id, 0, 32) == second.key


def test_a_key_that_was_replaced_is_not_used_again():
    """Even by a source that would give it twice."""

    class Lenient:
        label, secret = "a source that forgets", True

        def fresh(self, peer, size):
            raise NotImplementedError

        def by_id(self, peer, key_id):
            return bytes(32)

    ring, ids = Keyring(Lenient(), "client", b"run"), [bytes([number] * 16) for number in range(3)]
    for key_id in ids[:2]:
        ring.receive("seal", key_id, 0, 32)
        ring.accept("seal", key_id, 0, last=False)
    with pytest.raises(PayloadError, match="used up"):
        ring.receive("seal", ids[0], 1, 32)
    ring.receive("seal", ids[1], 1, 32)
    ring.accept("seal", ids[1], 1, last=True)
    with pytest.raises(PayloadError, match="used up"):
        ring.receive("seal", ids[1], 2, 32)


def test_an_unknown_key_is_the_message_s_fault():
    with pytest.raises(PayloadError, match="not to be had"):
        pair()[1].receive("seal", bytes(16), 0, 32)


def test_what_is_bound_tells_runs_and_headers_apart():
    """Also where the end of the run's name looks like the beginning of a header."""
    header = Frame(0, 1, 2, bytes(8), bytes(8))
    rings = [
        Keyring(SharedMemory().end("client"), "server", run)
        for run in (b"run", b"run2", b"ru", b"run" + header.identity)
    ]
    assert len({ring.associated(header) for ring in rings}) == 4
    assert rings[0].associated(header) == pair()[0].associated(header)
    assert header.identity in rings[0].associated(header)


def test_only_a_source_that_says_so_is_raw():
    assert isinstance(SimulatedLinks().end("client"), RawKeySource)
    assert not isinstance(SharedMemory().end("client"), RawKeySource)
    Keyring(SimulatedLinks().end("client"), "server", b"").require_raw("pad")

    class Stretched:
        label, secret, raw = "stretched", True, False

        def fresh(self, peer, size):
            raise NotImplementedError

        def by_id(self, peer, key_id):
            raise NotImplementedError

    for source in (SharedMemory().end("client"), Stretched()):
        with pytest.raises(StackError, match="raw bits of a quantum link"):
            Keyring(source, "server", b"").require_raw("pad")
