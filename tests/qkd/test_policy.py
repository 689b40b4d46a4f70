import uuid

import pytest

from qfedfm.core.errors import ConfigError, KeyRefusedError, KeyServiceError, KeyShortageError
from qfedfm.core.keys import KeySource, SharedMemory
from qfedfm.qkd.policy import Supply


class Dry:
    """A source that has nothing until it has been asked so often."""

    label, secret = "a link", True

    def __init__(self, end, dry):
        self.end, self.dry = end, dry

    def fresh(self, peer, size):
        self.dry -= 1
        if self.dry >= 0:
            raise KeyShortageError("no keys")
        return self.end.fresh(peer, size)

    def by_id(self, peer, key_id):
        return self.end.by_id(peer, key_id)


def test_refuses_at_once():
    supply = Supply(Dry(SharedMemory().end("a"), 1), "refuse", sleep=lambda seconds: pytest.fail("waited"))
    with pytest.raises(KeyShortageError):
        supply.fresh("b", 32)
    assert len(supply.fresh("b", 32)[1]) == 32
    assert (supply.given, supply.fallen, supply.label) == (1, 0, "a link")


@pytest.mark.parametrize(("dry", "enough"), [(3, True), (5, True), (6, False)])
def test_waits_no_longer_than_its_patience(dry, enough):
    waited = []
    supply = Supply(Dry(SharedMemory().end("a"), dry), "wait", patience=1.0, pause=0.2, sleep=waited.append)
    if enough:
        assert len(supply.fresh("b", 8)[1]) == 8
    else:
        with pytest.raises(KeyShortageError):
            supply.fresh("b", 8)
    assert waited == [0.2] * min(dry, 5)


def test_falls_back_only_where_both_ends_allow_it():
    link, agreed = SharedMemory(), SharedMemory()

    def end(party, low, dry=0):
        fallback = agreed.end(party) if low == "fallback" else None
        return Supply(Dry(link.end(party), dry), low, fallback)

    alice, bob, strict = end("alice", "fallback", dry=1), end("bob", "fallback"), end("bob", "refuse")
    assert isinstance(alice, KeySource)
    fallen, key = alice.fresh("bob", 32)
    with pytest.raises(KeyRefusedError, match="fallback"):
        strict.by_id("alice", fallen)
    assert bob.by_id("alice", fallen) == key
    plain, key = alice.fresh("bob", 32)
    assert strict.by_id("alice", plain) == key
    assert (alice.given, alice.fallen, bob.fallen, strict.fallen) == (2, 1, 1, 0)
    assert alice.label == "a link; 1 of 2 keys by fallback: keys shared in memory"


def test_is_secret_only_if_both_sources_are():
    from qfedfm.core.key import Key

    secret, seeded = SharedMemory().end("a"), SharedMemory(Key.of(1)).end("a")
    found = [Supply(one, "fallback", two).secret for one in (secret, seeded) for two in (secret, seeded)]
    assert found == [True, False, False, False]


@pytest.mark.parametrize("low", ["wait", "refuse", "fallback"])
def test_refuses_a_policy_that_does_not_fit(low):
    end = SharedMemory().end("a")
    with pytest.raises(ConfigError, match="fallback"):
        Supply(end, low, None if low == "fallback" else end)
    with pytest.raises(ConfigError, match="pause"):
        Supply(end, "wait", patience=0.1, pause=0.2)


def test_a_key_from_the_fallback_is_told_by_the_version_of_its_id():
    class Named:
        """A source whose ids have a version of its own."""

        label, secret, raw = "named", True, True

        def __init__(self, version):
            self.version = version

        def fresh(self, peer, size):
            return f"01234567-89ab-{self.version}def-8123-456789abcdef", bytes(size)

        def by_id(self, peer, key_id):
            return bytes(1)

    memory = SharedMemory()
    fallen, _ = Supply(Dry(memory.end("a"), 1), "fallback", memory.end("a")).fresh("b", 32)
    assert uuid.UUID(fallen).version == 8
    assert uuid.UUID(memory.end("a").fresh("b", 32)[0]).version == 4
    assert Supply(Named("7")).fresh("b", 1)[0][14] == "7"
    with pytest.raises(KeyServiceError, match="another version than 8"):
        Supply(Named("8")).fresh("b", 1)
    with pytest.raises(KeyServiceError, match="from the fallback"):
        Supply(Dry(memory.end("a"), 1), "fallback", Named("7")).fresh("b", 1)
    assert Supply(Named("4")).raw
    assert not Supply(Named("4"), "fallback", memory.end("a")).raw
    assert not Supply(memory.end("a")).raw
