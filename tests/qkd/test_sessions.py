"""Keys of sessions: both ends' own bits, each once, less what authentication takes; none where a session aborts."""

import dataclasses

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError, KeyShortageError, KeyUnknownError
from qfedfm.core.keyring import RawKeySource
from qfedfm.qkd.authentication import OVERHEAD, TAG_BYTES
from qfedfm.qkd.channel import ALICE, BOB
from qfedfm.qkd.entropy import System
from qfedfm.qkd.proof import Reason
from qfedfm.qkd.session import Account, Outcome
from qfedfm.qkd.sessions import SessionLinks

SETUP = 2 * 40 * 8
"""Bits of initial key that a channel costs before its first message: 40 bytes a direction."""


class Fake:
    """Sessions that give a known number of bits, tell ``messages`` in each direction, and keep what they gave."""

    def __init__(self, bits=4000, messages=2, reasons=()):
        self.bits, self.messages, self.reasons = bits, messages, list(reasons)
        self.given, self.names = [], []

    def __call__(self, alice, bob, channel):
        self.names.append((alice, bob))
        for _ in range(self.messages):
            assert channel.send(ALICE, "a", b"from Alice") == b"from Alice"
            assert channel.send(BOB, "b", b"from Bob") == b"from Bob"
        spent = channel.consumed
        account = Account(1000, "x", "y", bits=self.bits, authentication=spent)
        reason = self.reasons.pop(0) if self.reasons else None
        if reason is not None:
            none = np.zeros(0, np.uint8)
            return Outcome(none, none, dataclasses.replace(account, bits=0, reason=reason, detail="why"))
        key = System().bits(self.bits)
        self.given.append(key)
        return Outcome(key, key.copy(), account)


def spent(messages):
    """Bits that a session's authentication takes: a tag each way for each message, and the setting-up."""
    return SETUP + 2 * messages * 8 * TAG_BYTES


def test_both_ends_have_the_bits_of_the_session_less_those_that_go_back():
    fake = Fake()
    links = SessionLinks(fake)
    client, server = links.end("client-1"), links.end("server")
    assert isinstance(client, RawKeySource)
    assert client.raw
    assert client.secret
    first_id, first = client.fresh("server", 32)
    second_id, second = server.fresh("client-1", 16)
    assert server.by_id("client-1", first_id) == first
    assert client.by_id("server", second_id) == second
    assert fake.names == [("client-1", "server")]
    expected = np.packbits(fake.given[0]).tobytes()[spent(2) // 8 :]
    assert first + second == expected[:48]
    assert links.taken == 48 * 8
    (ran,) = links.ran
    assert (ran.alice, ran.bob, ran.account.net) == ("client-1", "server", 4000 - spent(2))
    assert ran.bytes == 2 * (len(b"from Alice") + len(b"from Bob") + 2 * OVERHEAD)


def test_a_key_longer_than_a_session_takes_several_and_uses_all_net_bits_once():
    fake = Fake(bits=1600, messages=1)
    links = SessionLinks(fake)
    size = 5 * (1600 - spent(1)) // 8
    _, key = links.end("a").fresh("b", size)
    assert len(fake.given) == 5
    assert key == b"".join(np.packbits(bits).tobytes()[spent(1) // 8 :] for bits in fake.given)


def test_each_pair_has_a_link_of_its_own_and_each_key_is_given_once():
    fake = Fake()
    links = SessionLinks(fake)
    key_id, key = links.end("server").fresh("client-1", 8)
    _, other = links.end("server").fresh("client-2", 8)
    assert key != other
    assert len(fake.given) == 2
    with pytest.raises(KeyUnknownError):
        links.end("client-2").by_id("server", key_id)
    assert links.end("client-1").by_id("server", key_id) == key
    with pytest.raises(KeyUnknownError):
        links.end("client-1").by_id("server", key_id)


def test_a_small_store_asks_for_a_session_each_time():
    fake = Fake()
    links = SessionLinks(fake, capacity=256)
    keys = {links.end("a").fresh("b", 32)[1] for _ in range(3)}
    assert len(fake.given) == len(keys) == 3
    with pytest.raises(ConfigError, match="264 bits from a store of 256"):
        links.end("a").fresh("b", 33)
    for capacity in (0, 12, -8):
        with pytest.raises(ConfigError, match="store"):
            SessionLinks(fake, capacity)


def test_a_session_that_aborts_gives_no_key_and_the_next_one_may():
    fake = Fake(reasons=[Reason.ERRORS])
    links = SessionLinks(fake)
    with pytest.raises(KeyShortageError, match="a and b: error rate too high"):
        links.end("a").fresh("b", 32)
    assert links.taken == 0
    assert links.ran[0].account.reason is Reason.ERRORS
    assert len(links.end("a").fresh("b", 32)[1]) == 32


def test_sessions_that_give_nothing_use_up_the_initial_key():
    links = SessionLinks(Fake(reasons=[Reason.ERRORS] * 9), initial=2 * spent(2) // 8)
    for _ in range(2):
        with pytest.raises(KeyShortageError, match="error rate"):
            links.end("a").fresh("b", 32)
    with pytest.raises(KeyShortageError, match="new initial key"):
        links.end("a").fresh("b", 32)
    assert len(links.ran) == 2


def test_initial_key_that_a_broken_session_has_seen_is_never_used_again():
    seen = []

    def broken(alice, bob, channel):
        seen.append(channel.send(ALICE, "a", b"x"))
        raise RuntimeError

    links = SessionLinks(broken)
    with pytest.raises(RuntimeError):
        links.end("a").fresh("b", 32)
    with pytest.raises(KeyShortageError, match="new initial key"):
        links.end("a").fresh("b", 32)
    assert len(seen) == 1
    short = SessionLinks(Fake(messages=9), initial=spent(2) // 8)
    for _ in range(2):
        with pytest.raises(KeyShortageError, match="new initial key"):
            short.end("a").fresh("b", 32)
    assert len(short.session.names) == 1


def test_what_goes_back_keeps_a_short_initial_key_alive():
    fake = Fake(bits=spent(2) + 64)
    links = SessionLinks(fake, initial=spent(2) // 8)
    assert len({links.end("a").fresh("b", 8)[1] for _ in range(20)}) == len(fake.given) == 20


@pytest.mark.parametrize("bits", [1, 500, spent(2), spent(2) + 7])
def test_a_session_that_costs_as_much_as_it_gives_is_none(bits):
    with pytest.raises(KeyShortageError, match="owed"):
        SessionLinks(Fake(bits)).end("a").fresh("b", 1)


def test_no_bits_are_shown():
    fake = Fake()
    links = SessionLinks(fake)
    _, key = links.end("a").fresh("b", 32)
    links.make("a", "b", 16)
    shown = repr(links) + repr(links.end("a")) + repr(links.ran)
    for secret in (key.hex(), repr(key)[2:-1], "_stores", "_waiting", "array"):
        assert secret not in shown
