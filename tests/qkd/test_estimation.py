import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.key import Key
from qfedfm.qkd.channel import Channel, pack_bits, unpack_bits
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.estimation import estimate
from qfedfm.qkd.proof import Observed, PerIntensity, Sample
from qfedfm.qkd.sifting import Sifted


def sifted(count: int = 4000, intensities: bool = False, one_kind: bool = False, seed: int = 0) -> Sifted:
    rng = Key.of(seed).fold("sifted").numpy()
    alice = rng.integers(2, size=count).astype(np.uint8)
    bob = alice ^ (rng.random(count) < 0.1).astype(np.uint8)
    test = np.ones(count, bool) if one_kind else rng.random(count) < 0.25
    level = rng.integers(3, size=count).astype(np.uint8) if intensities else None
    return Sifted(alice, bob, np.ones(count, bool) if one_kind else ~test, test, level)


def test_all_are_taken_and_counted_where_no_numbers_are_set():
    given = sifted(intensities=True)
    found = estimate(given, Sample(), Channel(), Seeded(Key.of(1)))
    wrong = given.alice != given.bob

    def by_hand(mask):
        return tuple(
            sum(1 for m, level in zip(mask, given.intensity, strict=True) if m and level == i) for i in range(3)
        )

    counts = PerIntensity(by_hand(given.key), by_hand(given.test), by_hand(given.test & wrong))
    assert found.seen == Observed(*(int(mask.sum()) for mask in (given.key, given.test, given.test & wrong)), counts)
    assert found.alice.tolist() == given.alice[given.key].tolist()
    assert found.bob.tolist() == given.bob[given.key].tolist()


def test_tested_bits_are_told_and_never_become_key():
    given, channel = sifted(one_kind=True), Channel()
    found = estimate(given, Sample(test=700), channel, Seeded(Key.of(2)))
    assert (found.seen.key, found.seen.test) == (3300, 700)
    assert channel.leaked == 0
    told = unpack_bits(channel.transcript[0].body)
    tested = told[:4000].astype(bool)
    assert tested.sum() == 700
    assert told[8000:].tolist() == given.alice[tested].tolist()
    assert found.alice.tolist() == given.alice[~tested].tolist()
    assert found.seen.errors == (given.alice != given.bob)[tested].sum()


def test_subsets_are_random_and_not_twice_the_same():
    given = sifted(100)
    chosen = np.zeros(100)
    for run in range(400):
        channel = Channel()
        estimate(given, Sample(30, 10), channel, Seeded(Key.of(run)))
        chosen += unpack_bits(channel.transcript[0].body)[:100]
    share = chosen / 400
    expected = 10 / given.test.sum()
    assert not chosen[~given.test].any()
    assert np.abs(share[given.test] - expected).max() < 5 * np.sqrt(expected * (1 - expected) / 400)


def test_with_too_few_bits_all_are_taken():
    found = estimate(sifted(50), Sample(1000, 1000), Channel(), Seeded(Key.of(0)))
    assert found.seen.key + found.seen.test == 50
    nothing = estimate(sifted(0), Sample(10, 10), Channel(), Seeded(Key.of(0)))
    assert nothing.seen == Observed(0, 0, 0)
    assert nothing.seen.rate == 0.5


def test_a_test_of_everything_is_refused():
    with pytest.raises(ConfigError, match="number of bits to test"):
        estimate(sifted(one_kind=True), Sample(), Channel(), Seeded(Key.of(0)))


def tampered(kind, change):
    return Channel(lambda m: change(m.body) if m.kind == kind else m.body)


def _rewrite(change):
    def rewrite(body):
        bits = unpack_bits(body).copy()
        return pack_bits(change(bits))

    return rewrite


def _flip(*places):
    def change(bits):
        bits[list(places)] ^= 1
        return bits

    return _rewrite(change)


GIVEN = sifted()
KEY_BIT, TEST_BIT = int(np.flatnonzero(GIVEN.key)[0]), int(np.flatnonzero(GIVEN.test)[0])


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("test", lambda b: b[:-1]), ("test", lambda b: b""), ("test", _rewrite(lambda bits: bits[:-1])),
        ("test", _flip(TEST_BIT)), ("test", _flip(4000 + TEST_BIT)), ("test", _flip(8001)),
        ("test", _rewrite(lambda bits: np.insert(_one(bits, KEY_BIT), 8000, 0))),
        ("test answer", lambda b: b[:-1]), ("test answer", _rewrite(lambda bits: bits[:-1])),
        ("test answer", _flip(3)),
    ],
    ids=["short", "empty", "fewer", "untold", "key-of-test", "her-bit", "key-told", "cut", "less", "his-bit"],
)  # fmt: skip
def test_altered_tests_are_refused(kind, change):
    with pytest.raises(PayloadError):
        estimate(GIVEN, Sample(), tampered(kind, change), Seeded(Key.of(0)))


def _one(bits, place):
    bits[place] = 1
    return bits


def test_only_three_intensities_are_known():
    given = sifted(intensities=True)
    given.intensity[5] = 3
    with pytest.raises(PayloadError, match="third"):
        estimate(given, Sample(), Channel(), Seeded(Key.of(0)))


@given(st.binary(max_size=40), st.sampled_from(["test", "test answer"]))
def test_no_bytes_do_anything_but_be_refused(body, kind):
    given_bits = sifted(16)
    honest = Channel()
    estimate(given_bits, Sample(), honest, Seeded(Key.of(0)))
    assume(body not in [message.body for message in honest.transcript])
    with pytest.raises(PayloadError):
        estimate(given_bits, Sample(), tampered(kind, lambda _: body), Seeded(Key.of(0)))
