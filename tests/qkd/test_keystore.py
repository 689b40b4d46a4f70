"""Every key once, whatever happens in between: against a model, in threads and processes, after crashes."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfedfm.core.errors import (
    ConfigError,
    KeyRefusedError,
    KeyShortageError,
    KeyStoreError,
    KeyUnknownError,
    PayloadError,
)
from qfedfm.qkd.keystore import KeyStore, Plan
from qfedfm.qkd.vault import MasterKey, Vault

ROOT = Path(__file__).parents[2]
MASTER = MasterKey(bytes(range(32)))


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Ends:
    """The stores at both ends of a link, of which A owns the units."""

    def __init__(self, folder, **settings):
        self.folder, self.settings, self.clock = folder, settings, Clock()
        self.open()

    def open(self):
        self.a, self.b = (
            KeyStore(self.folder / f"{name}.sqlite", MASTER, monotonic=self.clock, **self.settings) for name in "ab"
        )

    def close(self):
        self.a.close()
        self.b.close()

    def feed(self, count, make=os.urandom):
        first = self.a.number("b", count)
        units = {first + i: make(32) for i in range(count)}
        self.b.put("a", False, units, "test link")
        self.a.put("b", True, units, "test link")
        return units

    def key(self, size=256, number=1, slaves=("bob",)):
        plan = self.a.reserve("b", "alice", slaves, number, size)
        self.b.accept("a", plan)
        return self.a.give("b", plan)


@pytest.fixture
def ends(tmp_path):
    both = Ends(tmp_path)
    yield both
    both.close()


@pytest.mark.parametrize("size", [8, 248, 256, 264, 1024])
def test_both_ends_give_the_same_bits_once(ends, size):
    units = ends.feed(8)
    [found] = ends.key(size, slaves=("bob", "carol"))
    assert found.secret == b"".join(units.values())[: size // 8]
    assert found.label == "test link"
    assert ends.a.free("b") == 8 - -(-size // 256)
    for sae in ("bob", "carol"):
        assert ends.b.collect(sae, "alice", [found.key_id]) == [found]
        with pytest.raises(KeyRefusedError):
            ends.b.collect(sae, "alice", [found.key_id])
    assert ends.b.waiting() == 0
    for store, peer, ours in ((ends.a, "b", True), (ends.b, "a", False)):
        assert store.numbers(peer, ours) == list(units)[-(-size // 256) :]


def test_only_who_may_have_it(ends):
    ends.feed(4)
    first, second = ends.key(number=2)
    for sae, master in (("carol", "alice"), ("alice", "alice"), ("bob", "mallory")):
        with pytest.raises(KeyRefusedError) as refused:
            ends.b.collect(sae, master, [first.key_id])
        assert refused.type is KeyRefusedError
    with pytest.raises(KeyUnknownError):
        ends.b.collect("bob", "alice", [first.key_id, "550e8400-e29b-41d4-a716-446655440000"])
    with pytest.raises(KeyRefusedError):
        ends.b.collect("bob", "alice", [first.key_id, second.key_id, first.key_id])
    assert ends.b.collect("bob", "alice", [second.key_id, first.key_id]) == [second, first]
    with pytest.raises(KeyRefusedError):
        ends.a.collect("bob", "alice", [first.key_id])


def test_a_step_is_taken_once_and_in_order(ends):
    ends.feed(3)
    plan = ends.a.reserve("b", "alice", ["bob"], 1, 256)
    ends.b.accept("a", plan)
    with pytest.raises(KeyRefusedError):
        ends.b.accept("a", plan)
    ends.a.give("b", plan)
    with pytest.raises(KeyRefusedError):
        ends.a.give("b", plan)
    [key_id] = plan.units
    for units in ({key_id: (1,)}, {"new": (1, 1)}, {"new": (1, 2)}, {"new": (7,)}, {"new": ()}, {"x": (1,), "y": (1,)}):
        with pytest.raises(KeyRefusedError):
            ends.b.accept("a", Plan("alice", ("bob",), 256, units))
    unreserved = Plan("alice", ("bob",), 256, {"new": (1,)})
    with pytest.raises(KeyRefusedError):
        ends.a.give("b", unreserved)
    assert ends.b.numbers("a", False) == ends.a.numbers("b", True) == [1, 2]


def test_what_was_reserved_is_never_free_again(tmp_path):
    ends = Ends(tmp_path, reservation=10.0)
    ends.feed(3)
    lost, late = (ends.a.reserve("b", "alice", ["bob"], 1, 256) for _ in range(2))
    ends.a.abandon("b", lost)
    ends.clock.now += 9.9
    assert ends.a.free("b") == 1
    ends.clock.now += 0.1
    with pytest.raises(KeyRefusedError):
        ends.a.give("b", late)
    ends.a.sweep()
    assert ends.a.numbers("b", True) == [2]
    assert ends.b.keep("a", False, ends.a.numbers("b", True)) == 2
    assert ends.b.numbers("a", False) == [2]
    ends.close()


def test_too_few_and_too_many(tmp_path):
    ends = Ends(tmp_path, capacity=3)
    with pytest.raises(KeyShortageError, match="0 units"):
        ends.key()
    ends.feed(3)
    with pytest.raises(KeyShortageError, match="3 units for 2 keys of 512 bits; expected 4"):
        ends.key(512, number=2)
    with pytest.raises(KeyShortageError, match="no room"):
        ends.feed(1)
    for number, size in ((0, 256), (1, 12), (1, 0), (-1, 8)):
        with pytest.raises(ConfigError):
            ends.key(size, number)
    with pytest.raises(ConfigError, match="32 bytes"):
        ends.a.put("b", True, {9: b"short"}, "")
    assert len(ends.key(number=3)) == 3
    ends.close()


def test_a_key_expires_by_the_age_of_the_store(tmp_path):
    ends = Ends(tmp_path, lifetime=100.0)
    ends.feed(3)
    [early], [late] = ends.key(), ends.key()
    ends.clock.now += 99.0
    assert ends.b.collect("bob", "alice", [early.key_id]) == [early]
    ends.clock.now += 1.5
    with pytest.raises(KeyRefusedError) as refused:
        ends.b.collect("bob", "alice", [late.key_id])
    assert refused.type is KeyRefusedError
    ends.b.sweep()
    assert ends.b.waiting() == 0
    ends.clock.now += 100.0
    with pytest.raises(KeyUnknownError):
        ends.b.collect("bob", "alice", [late.key_id])
    ends.close()


def test_clocks_that_jump(tmp_path, monkeypatch):
    """Neither the wall clock nor a restart of the machine revives a key or burns one before its time."""
    ends = Ends(tmp_path, lifetime=100.0)
    ends.feed(2)
    [key] = ends.key()
    ends.clock.now += 60.0
    ends.b.sweep()
    ends.close()
    ends.clock.now = 3.0  # the machine was started again
    for years in (-20, 20):
        monkeypatch.setattr(time, "time", lambda years=years: 1.7e9 + years * 3.2e7)
        ends.open()
        ends.b.sweep()
        ends.close()
    ends.open()
    ends.clock.now += 30.0  # 60 + 3 + 30
    ends.b.sweep()
    assert ends.b.waiting() == 1
    ends.clock.now += 8.0
    with pytest.raises(KeyRefusedError):
        ends.b.collect("bob", "alice", [key.key_id])
    ends.close()


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.integers(1, 4)),
        st.tuples(st.just("reserve"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["accept", "give", "abandon", "collect"]), st.integers(0, 5)),
        st.tuples(st.just("tick"), st.integers(1, 8)),
        st.tuples(st.just("settle"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=30)
@given(ops=OPS)
def test_no_order_of_events_gives_a_unit_twice(tmp_path_factory, ops):
    ends = Ends(tmp_path_factory.mktemp("store"), reservation=10.0, lifetime=30.0)
    plans, masters, slaves, fed = [], Counter(), Counter(), set()
    keys = {}

    def event(name, value):
        plan = plans[value % len(plans)] if plans else None
        if name == "feed":
            fed.update(ends.feed(value).values())
        elif name == "reserve":
            plans.append(ends.a.reserve("b", "alice", ("bob",), value, 256))
        elif name == "tick":
            ends.clock.now += value
        elif name == "settle":
            ends.b.keep("a", False, ends.a.numbers("b", True))
            ends.a.keep("b", True, ends.b.numbers("a", False))
        elif name == "reopen":
            ends.close()
            ends.open()
        elif plan and name == "accept":
            ends.b.accept("a", plan)
        elif plan and name == "abandon":
            ends.a.abandon("b", plan)
        elif plan and name == "give":
            found = ends.a.give("b", plan)
            masters.update(each.secret for each in found)
            keys.update({each.key_id: each.secret for each in found})
        elif plan and name == "collect":
            found = ends.b.collect("bob", "alice", list(plan.units))
            slaves.update(each.secret for each in found)
            assert all(keys.get(each.key_id, each.secret) == each.secret for each in found)

    for name, value in ops:
        with contextlib.suppress(KeyRefusedError, KeyShortageError):
            event(name, value)
    assert set(masters.values()) | set(slaves.values()) <= {1}
    assert set(masters) | set(slaves) <= fed
    ends.close()


WORKER = """
import sys
from pathlib import Path
from qfedfm.core.errors import KeyShortageError
from qfedfm.qkd.keystore import KeyStore
from qfedfm.qkd.vault import MasterKey
store = KeyStore(Path(sys.argv[1]), MasterKey(bytes(range(32))))
try:
    while True:
        plan = store.reserve("b", "alice", ["bob"], 2, 256)
        for each in store.give("b", plan):
            print(each.secret.hex(), flush=True)
except KeyShortageError:
    pass
"""


def test_processes_share_a_store(ends):
    units = ends.feed(120)
    command = [sys.executable, "-c", WORKER, str(ends.folder / "a.sqlite")]
    workers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = [line for worker in workers for line in worker.communicate()[0].split()]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert sorted(found) == sorted(secret.hex() for secret in units.values())


def test_a_killed_process_leaves_nothing_to_give_twice(ends):
    units = ends.feed(400)
    command = [sys.executable, "-c", WORKER, str(ends.folder / "a.sqlite")]
    worker = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    first = [worker.stdout.readline() for _ in range(9)]
    worker.kill()
    first += worker.communicate()[0].splitlines(keepends=True)
    seen = {line.strip() for line in first if line.endswith("\n")}
    rest = []
    while ends.a.free("b") >= 2:
        rest += ends.a.give("b", ends.a.reserve("b", "alice", ["bob"], 2, 256))
    second = {each.secret.hex() for each in rest}
    assert len(second) == len(rest) > 0
    assert not seen & second
    assert seen | second <= {secret.hex() for secret in units.values()}


def content(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_nothing_readable_on_disk_and_nothing_left_of_what_is_gone(ends):
    canaries = ends.feed(6, make=lambda count: b"CANARY" + os.urandom(count - 6))
    assert b"CANARY" not in content(ends.folder)
    with sqlite3.connect(ends.folder / "a.sqlite") as reader:
        sealed = [row[0] for row in reader.execute("SELECT secret FROM units ORDER BY number")]
    reader.close()
    assert all(each in content(ends.folder) for each in sealed)
    found = ends.key(512, number=3)
    for store in (ends.a, ends.b):
        store.sweep()
    left = (ends.folder / "a.sqlite").read_bytes() + (ends.folder / "a.sqlite-wal").read_bytes()
    assert not [each for each in sealed if each in left]
    ends.b.collect("bob", "alice", [each.key_id for each in found])
    everything = content(ends.folder)
    assert not [secret for secret in canaries.values() if secret in everything or secret[:12] in everything]
    assert "CANARY" not in f"{found} {ends.a!r} {vars(ends.a)}"


def test_the_file_is_private(ends):
    ends.feed(1)
    assert {path.stat().st_mode & 0o777 for path in ends.folder.iterdir()} == {0o600}


def test_a_record_opens_only_in_its_place(ends):
    ends.feed(3)
    ends.a.close()
    with sqlite3.connect(ends.folder / "a.sqlite") as other:
        other.execute("UPDATE units SET secret = (SELECT secret FROM units WHERE number = 1) WHERE number = 0")
    other.close()
    ends.a = KeyStore(ends.folder / "a.sqlite", MASTER, monotonic=ends.clock)
    with pytest.raises(KeyStoreError, match="does not open"):
        ends.a.give("b", ends.a.reserve("b", "alice", ["bob"], 1, 256))


FORGED = {
    "a right": "INSERT INTO rights SELECT key_id, 'mallory' FROM keys",
    "a right in another's place": "UPDATE rights SET sae = 'mallory' WHERE sae = 'carol'",
    "the right of one who has had it": "INSERT INTO rights SELECT key_id, 'bob' FROM keys",
    "another's right taken away": "DELETE FROM rights WHERE sae = 'carol'",
    "the master": "UPDATE keys SET master = 'mallory'",
    "the deadline": "UPDATE keys SET deadline = deadline + 1e9",
    "the label": "UPDATE keys SET label = 'QKD-secure'",
}


@pytest.mark.parametrize("what", list(FORGED))
def test_who_can_write_the_file_gives_nobody_a_right(ends, what):
    """Whoever asks, in whatever name: the key does not open."""
    ends.feed(1)
    [key] = ends.key(slaves=("bob", "carol", "dave"))
    assert ends.b.collect("bob", "alice", [key.key_id]) == [key]
    ends.b.close()
    with sqlite3.connect(ends.folder / "b.sqlite") as forger:
        assert forger.execute(FORGED[what]).rowcount == 1
    forger.close()
    ends.b = KeyStore(ends.folder / "b.sqlite", MASTER, monotonic=ends.clock)
    opened = 0
    for sae in ("bob", "carol", "dave", "mallory"):
        for master in ("alice", "mallory"):
            with pytest.raises((KeyStoreError, KeyRefusedError)) as refused:
                ends.b.collect(sae, master, [key.key_id])
            opened += refused.type is KeyStoreError
    assert opened > 0


def test_a_unit_keeps_its_label(ends):
    ends.feed(1)
    ends.a.close()
    with sqlite3.connect(ends.folder / "a.sqlite") as forger:
        forger.execute("UPDATE units SET label = 'QKD-secure'")
    forger.close()
    ends.a = KeyStore(ends.folder / "a.sqlite", MASTER, monotonic=ends.clock)
    with pytest.raises(KeyStoreError, match="does not open"):
        ends.a.give("b", ends.a.reserve("b", "alice", ["bob"], 1, 256))


@pytest.mark.parametrize("end", ["", "-wal", "-shm"], ids=["file", "log", "index"])
def test_a_store_that_others_can_use_is_refused(ends, end):
    path = Path(f"{ends.folder / 'a.sqlite'}{end}")
    for mode in (0o640, 0o602, 0o604):
        path.chmod(mode)
        with pytest.raises(KeyStoreError, match=f"chmod 600 {path}"):
            KeyStore(ends.folder / "a.sqlite", MASTER)
    path.chmod(0o600)
    KeyStore(ends.folder / "a.sqlite", MASTER).close()


def test_keys_of_more_bits_than_can_be_taken_wait_on(ends):
    ends.feed(3)
    found = ends.key(number=3, slaves=("bob", "carol"))
    ids = [each.key_id for each in found]
    with pytest.raises(PayloadError, match="at most 767"):
        ends.b.collect("bob", "alice", ids, 767)
    assert ends.b.collect("bob", "alice", ids, 768) == found
    assert ends.b.collect("carol", "alice", ids) == found


def test_a_store_that_cannot_be_used(tmp_path, ends):
    with pytest.raises(KeyStoreError, match="master key"):
        KeyStore(ends.folder / "a.sqlite", MasterKey(bytes(32)))
    (tmp_path / "text").write_text("no database" * 100)
    (tmp_path / "text").chmod(0o600)
    for path in (tmp_path / "text", tmp_path / "no" / "folder", tmp_path):
        with pytest.raises(KeyStoreError, match="cannot be used"):
            KeyStore(path, MASTER)
    ends.feed(1)
    with pytest.raises(KeyStoreError):
        ends.a.put("b", True, {0: bytes(32)}, "again")


def test_the_master_key_and_where_it_lies(tmp_path, monkeypatch):
    made = MasterKey.create(tmp_path / "master")
    assert MasterKey.load(tmp_path / "master") == made
    assert (tmp_path / "master").stat().st_mode & 0o777 == 0o600
    assert made.secret.hex() not in repr(made)
    with pytest.raises(ConfigError, match="is there already"):
        MasterKey.create(tmp_path / "master")
    (tmp_path / "master").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        MasterKey.load(tmp_path / "master")
    monkeypatch.setenv("QFEDFM_MASTER_KEY", made.secret.hex())
    assert MasterKey.load() == made
    monkeypatch.setenv("QFEDFM_MASTER_KEY", made.secret.hex()[:-1])
    with pytest.raises(ConfigError, match="64 hexadecimal digits") as refused:
        MasterKey.load()
    assert made.secret.hex()[:-1] not in str(refused.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        MasterKey.load(tmp_path / "none")
    with pytest.raises(ConfigError, match="31 bytes"):
        MasterKey(bytes(31))


def test_a_sealed_record_is_bound_to_its_name_and_its_store():
    vault = Vault(MASTER, b"salt")
    sealed = vault.seal(b"secret", "unit", "b", 1)
    assert b"secret" not in sealed
    assert vault.seal(b"secret", "unit", "b", 1) != sealed
    other = bytes([sealed[-1] ^ 1])
    for attempt in (
        lambda: vault.open(sealed, "unit", "b", 2),
        lambda: vault.open(sealed, "unit", "b", "1"),
        lambda: Vault(MASTER, b"pepper").open(sealed, "unit", "b", 1),
        lambda: vault.open(sealed[:-1] + other, "unit", "b", 1),
        lambda: vault.open(sealed[:9], "unit", "b", 1),
    ):
        with pytest.raises(KeyStoreError):
            attempt()
