import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.key import Key
from qfedfm.qkd import _cascade
from qfedfm.qkd.cascade import VARIANTS, Cascade, Party
from qfedfm.qkd.channel import ALICE, BOB, Channel, Message, pack_bits, unpack_bits
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.reconciliation import Reconciled


def h(q: float) -> float:
    return -q * math.log2(q) - (1 - q) * math.log2(1 - q)


def strings(n: int, q: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Alice's bits, and Bob's with every bit wrong with probability q."""
    rng = np.random.default_rng([seed, n])
    alice = rng.integers(0, 2, n, dtype=np.uint8)
    return alice, alice ^ (rng.random(n) < q).astype(np.uint8)


def run(cascade: Cascade, n: int, q: float, estimate: float | None = None, seed: int = 0) -> Reconciled:
    return cascade.reconcile(*strings(n, q, seed), q if estimate is None else estimate, Channel(), Seeded(Key.of(seed)))


def frame_errors(done: Reconciled) -> int:
    length = -(-len(done.alice) // done.frames)
    return len(set((np.flatnonzero(done.alice ^ done.bob) // length).tolist()))


@pytest.mark.parametrize(
    ("variant", "q", "published"),
    [
        ("original", 0.01, 1.143),
        ("original", 0.02, 1.159),
        ("original", 0.05, 1.185),
        ("original", 0.10, 1.209),
        ("yan", 0.01, 1.095),
        ("yan", 0.02, 1.084),
        ("yan", 0.05, 1.077),
        ("yan", 0.10, 1.093),
    ],
)
def test_published_efficiencies(variant: str, q: float, published: float) -> None:
    """10,000 bits a frame; theirs asked for the last block of each pass as well."""
    frames, n = 192, 10_000
    done = run(Cascade(variant, frame=n), frames * n, q)
    last_blocks = frames * (len(VARIANTS[variant].sizes(n, q)) - 1)
    assert (done.disclosed + last_blocks) / (frames * n * h(q)) == pytest.approx(published, rel=0.015)
    assert frame_errors(done) <= 3


@pytest.mark.parametrize("q", [0.02, 0.035, 0.05])
@pytest.mark.parametrize(("frame", "frames", "limit"), [(10_000, 512, 1.10), (100_000, 64, 1.06)])
def test_parts_used_again_disclose_least(q: float, frame: int, frames: int, limit: float) -> None:
    done = run(Cascade("reuse", frame=frame), frames * frame, q)
    assert 1 < done.disclosed / (frames * frame * h(q)) <= limit
    assert frame_errors(done) <= 1


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("n", [1, 2, 3, 63, 64, 65, 1000])
def test_one_error_is_found_wherever_it_is(variant: str, n: int) -> None:
    alice = strings(n, 0)[0]
    for at in {0, n // 2, n - 1}:
        for qber in (0.0, 0.01, 0.5):
            bob = alice.copy()
            bob[at] ^= 1
            done = Cascade(variant).reconcile(alice, bob, qber, Channel(), Seeded(Key.of(n)))
            assert (done.bob == alice).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_equal_strings_cost_one_parity_and_one_a_later_pass(variant: str) -> None:
    """At an estimate of 0 a frame is one block; later passes ask for one half of it, and the other one follows."""
    done = run(Cascade(variant, frame=500), 2500, 0.0)
    passes = len(VARIANTS[variant].sizes(500, 0.0))
    assert (done.disclosed, done.asked, done.frames, done.failed) == (5 * passes, 5 * passes, 5, 0)
    assert (done.bob == done.alice).all()


def test_no_bits_need_no_words() -> None:
    channel = Channel()
    done = Cascade().reconcile(np.zeros(0, np.uint8), np.zeros(0, np.uint8), 0.02, channel, Seeded(Key.of(0)))
    assert (len(done.bob), done.disclosed, done.frames, channel.transcript) == (0, 0, 0, [])


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_estimate_twice_too_high_costs_more(variant: str) -> None:
    right, wrong = (run(Cascade(variant, frame=10_000), 640_000, 0.03, estimate) for estimate in (0.03, 0.06))
    assert frame_errors(wrong) <= 1
    assert wrong.disclosed > 1.05 * right.disclosed


@pytest.mark.parametrize(("variant", "errors"), [("original", 64), ("yan", 6), ("reuse", 0)])
def test_an_estimate_twice_too_low_still_ends(variant: str, errors: int) -> None:
    """Blocks are too large: passes that double in size leave errors, those over halves find nearly all."""
    done = run(Cascade(variant, frame=10_000), 640_000, 0.03, 0.015)
    assert frame_errors(done) <= errors
    assert (done.alice ^ done.bob).mean() < 0.03 / 50
    assert 1 < done.disclosed / (640_000 * h(0.03)) < 1.25


def test_frames_that_do_not_fill_the_last_one_and_batches() -> None:
    alice, bob = strings(25_001, 0.03)
    channel = Channel()
    done = Cascade("reuse", frame=1000, batch=5000).reconcile(alice, bob, 0.03, channel, Seeded(Key.of(3)))
    assert done.frames == 25
    assert [m.kind for m in channel.transcript].count("cascade orders") == math.ceil(25 / (5000 // 1001))
    assert len(done.bob) == 25_001
    assert frame_errors(done) == 0


def test_the_leak_is_the_bits_of_the_transcript() -> None:
    channel = Channel()
    done = Cascade("reuse", frame=2000).reconcile(*strings(20_000, 0.03), 0.03, channel, Seeded(Key.of(0)))
    sent = {ALICE: 0, BOB: 0}
    for message in channel.transcript:
        if message.kind == "cascade parities":
            sent[message.sender] += len(unpack_bits(message.body))
        else:
            assert (message.kind, message.sender, message.leaked) == ("cascade orders", ALICE, 0)
    assert (done.disclosed, done.asked) == (sent[ALICE], sent[BOB])
    assert channel.leaked == done.disclosed + done.asked
    assert done.disclosed == done.asked, "every question is answered by both"


def test_few_messages_carry_many_frames() -> None:
    messages = []
    for frames in (8, 256):
        channel = Channel()
        Cascade("reuse", frame=10_000).reconcile(*strings(frames * 10_000, 0.03), 0.03, channel, Seeded(Key.of(0)))
        messages.append(len(channel.transcript))
    assert messages[1] < 2 * messages[0] < 2000


def test_a_party_needs_its_own_bits_and_the_others_words_only() -> None:
    """Each one alone, fed with what the other said when both were there, says and finds the same."""
    alice, bob = strings(3000, 0.04)
    channel = Channel()
    done = Cascade("reuse", frame=1000).reconcile(alice, bob, 0.04, channel, Seeded(Key.of(1)))
    variant, words = VARIANTS["reuse"], [unpack_bits(m.body) for m in channel.transcript[1:]]
    for bits, said, heard in ((alice, words[0::2], words[1::2]), (bob, words[1::2], words[0::2])):
        corrects = bits is bob
        seed = channel.transcript[0].body
        party = Party(bits.reshape(3, 1000), variant.sizes(1000, 0.04), variant, seed, corrects)
        replies = [] if corrects else [party.open()]
        replies += [reply for reply in map(party.hear, heard) if reply is not None]
        assert [reply.tolist() for reply in replies] == [word.tolist() for word in said]
        np.testing.assert_array_equal(party.frames().ravel(), done.bob if corrects else alice)


def _tampered(numbers: set[int] | range, change) -> tuple[bool, int]:
    """Whether a change of some messages is noticed, at once or by comparing the strings; and how many there were."""
    seen: list[Message] = []

    def between(message: Message) -> bytes:
        seen.append(message)
        return change(message.body) if len(seen) - 1 in numbers else message.body

    alice, bob = strings(400, 0.05)
    try:
        done = Cascade("reuse").reconcile(alice, bob, 0.05, Channel(between), Seeded(Key.of(2)))
    except PayloadError:
        return True, len(seen)
    return not np.array_equal(done.bob, alice), len(seen)


def _flipped(body: bytes) -> bytes:
    """With another first bit."""
    at = 4 if len(body) > 4 else 0
    return body[:at] + bytes([body[at] ^ 0x80]) + body[at + 1 :]


def test_a_bit_altered_on_the_way_is_noticed_or_found_again_in_a_later_pass() -> None:
    honest = _tampered(set(), bytes)[1]
    noticed = []
    for number in range(1, honest):
        bad, messages = _tampered({number}, _flipped)
        noticed.append(bad)
        assert messages < 3 * honest
    assert honest > 50
    assert sum(noticed) > honest / 2


@pytest.mark.parametrize("seed", range(8))
def test_whoever_makes_up_all_answers_is_noticed(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def made_up(body: bytes) -> bytes:
        return pack_bits(rng.integers(0, 2, len(unpack_bits(body)), dtype=np.uint8))

    assert _tampered(range(1, 100_000), made_up)[0]


@pytest.mark.parametrize("number", [0, 1, 5])
@pytest.mark.parametrize(
    "change",
    [
        lambda body: b"",
        lambda body: body[:-1],
        lambda body: body + b"\0",
        lambda body: pack_bits(np.zeros(9, np.uint8)),
    ],
    ids=["nothing", "shorter", "longer", "other"],
)
def test_messages_of_another_length_are_refused(number: int, change) -> None:
    assert _tampered({number}, change)[0]


@settings(max_examples=60)
@given(
    n=st.integers(1, 300),
    frame=st.integers(1, 150),
    q=st.floats(0, 0.5),
    estimate=st.floats(0, 0.5),
    variant=st.sampled_from(sorted(VARIANTS)),
    seed=st.integers(0, 1000),
)
def test_it_ends_with_an_even_number_of_errors_in_each_frame(n, frame, q, estimate, variant, seed) -> None:
    done = run(Cascade(variant, frame=frame, batch=100), n, q, estimate, seed)
    length = -(-n // done.frames)
    for start in range(0, n, length):
        assert (done.alice ^ done.bob)[start : start + length].sum() % 2 == 0
    assert len(done.bob) == n
    assert done.disclosed == done.asked


@pytest.mark.parametrize(
    ("bits", "others", "qber", "words"),
    [
        ([0, 1], [0], 0.1, "2 and 1 values"),
        ([0, 2], [0, 1], 0.1, "0 or 1"),
        ([0, 1], [0, 1], -0.1, "0 to 1/2"),
        ([0, 1], [0, 1], 0.51, "0 to 1/2"),
        ([0, 1], [0, 1], math.nan, "0 to 1/2"),
    ],
)
def test_refuses(bits: list[int], others: list[int], qber: float, words: str) -> None:
    alice, bob = np.array(bits, np.uint8), np.array(others, np.uint8)
    with pytest.raises(ConfigError, match=words):
        Cascade().reconcile(alice, bob, qber, Channel(), Seeded(Key.of(0)))


def test_refuses_configurations() -> None:
    with pytest.raises(ConfigError, match="did you mean 'reuse'"):
        Cascade("reused")
    for sizes in ({"frame": 0}, {"batch": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            Cascade(**sizes)


def test_no_bit_of_a_key_shows() -> None:
    done = run(Cascade(), 100, 0.0)
    assert "array" not in repr(done)


def test_sizes_of_blocks() -> None:
    assert VARIANTS["original"].sizes(10_000, 0.05) == (15, 30, 60, 120)
    assert VARIANTS["yan"].sizes(10_000, 0.05) == (16, 80, *[5000] * 8)
    assert VARIANTS["original"].sizes(9, 0.05) == (9, 5, 5, 5)
    assert VARIANTS["original"].sizes(1, 0.5) == (1, 1, 1, 1)


def test_marks_against_lists_of_places() -> None:
    rng = np.random.default_rng(5)
    for density in (0.005, 0.1, 0.9):
        marks = rng.random(512) < density
        marks[[0, 511]] = True
        words = np.packbits(marks, bitorder="little").view(np.uint64)
        places = np.flatnonzero(marks)
        for at in range(512):
            assert _cascade.last_until(words, at) == places[places <= at].max()
            assert _cascade.first_from(words, at) == places[places >= at].min()
            assert _cascade.has(words, at) == marks[at]
        for start, last in np.sort(rng.integers(0, 512, (300, 2)), axis=1).tolist():
            assert _cascade.parity_between(words, start, last + 1) == marks[start : last + 1].sum() % 2


def test_running_parities_of_sliced_frames() -> None:
    rng = np.random.default_rng(6)
    bits = rng.integers(0, 2, (130, 77), dtype=np.uint8)
    words = _cascade.sliced(bits)
    assert words.shape == (3, 77)
    np.testing.assert_array_equal(_cascade.unsliced(words, 130), bits)
    order, place = np.empty((2, 77), np.int32)
    _cascade.shuffle(rng.integers(0, 2**64, 77, dtype=np.uint64), order, place)
    np.testing.assert_array_equal(np.argsort(order), place)
    running = np.empty((1, 3, 78), np.uint64)
    _cascade.accumulate(words, order, running[0])
    frame, start = rng.integers(0, 130, 50, dtype=np.int32), rng.integers(0, 40, 50, dtype=np.int32)
    stop = start + rng.integers(1, 37, 50, dtype=np.int32)
    found = _cascade.parities(running, frame, np.zeros(50, np.int32), start, stop)
    expected = [bits[f][order[a:b]].sum() % 2 for f, a, b in zip(frame, start, stop, strict=True)]
    np.testing.assert_array_equal(found, expected)


def test_orders_are_uniform() -> None:
    """All 24 orders of four bits, 24,000 times: χ² of 23 degrees stays below its 1 − 10⁻⁶ quantile, 73.1."""
    rng, order, place = np.random.default_rng(7), *np.empty((2, 4), np.int32)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(24_000):
        _cascade.shuffle(rng.integers(0, 2**64, 4, dtype=np.uint64), order, place)
        counts[tuple(order.tolist())] = counts.get(tuple(order.tolist()), 0) + 1
    assert len(counts) == 24
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 73.1
