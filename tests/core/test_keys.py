import threading

import pytest

from qfedfm.core.errors import ConfigError, KeyRefusedError, KeyUnknownError
from qfedfm.core.key import Key
from qfedfm.core.keys import KeySource, SharedMemory


def test_both_ends_get_the_same_key_once():
    memory = SharedMemory()
    alice, bob = memory.end("alice"), memory.end("bob")
    assert isinstance(alice, KeySource)
    key_id, key = alice.fresh("bob", 48)
    assert len(key) == 48
    for wrong in (lambda: memory.end("carol").by_id("alice", key_id), lambda: alice.by_id("bob", key_id)):
        with pytest.raises(KeyRefusedError):
            wrong()
    assert bob.by_id("alice", key_id) == key
    with pytest.raises(KeyUnknownError):
        bob.by_id("alice", key_id)


def test_keys_differ_and_have_a_size():
    alice = SharedMemory().end("alice")
    found = [alice.fresh("bob", 32) for _ in range(50)]
    assert len(set(found)) == len(dict(found)) == len({key for _, key in found}) == 50
    with pytest.raises(ConfigError, match="at least 1"):
        alice.fresh("bob", 0)


def test_a_seed_repeats_and_says_so():
    first, second, other = (SharedMemory(Key.of(seed)).end("a") for seed in (1, 1, 2))
    assert first.fresh("b", 32) == second.fresh("b", 32) != other.fresh("b", 32)
    assert (first.secret, SharedMemory().end("a").secret) == (False, True)
    assert "INSECURE" in first.label
    assert "INSECURE" not in SharedMemory().end("a").label


def test_threads_get_different_keys():
    memory, found = SharedMemory(Key.of(3)), []
    threads = [
        threading.Thread(target=lambda: found.extend(memory.end("a").fresh("b", 16) for _ in range(200)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key for _, key in found}) == 800


def test_no_key_in_a_repr():
    memory = SharedMemory()
    _, key = memory.end("a").fresh("b", 32)
    assert all(repr(key)[2:-1] not in repr(each) and key.hex() not in repr(each) for each in (memory, memory.end("a")))
