import itertools

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.key import Key
from qfedfm.qkd.channel import ALICE, BOB, Channel, Message, pack_bits
from qfedfm.qkd.entropies import binary_entropy
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.ldpc import LDPC, Receiver, Sender
from qfedfm.qkd.ldpc_codes import Code, column_degrees, grown
from qfedfm.qkd.ldpc_decoder import Decoder

TREE = Code(1, np.array([[0, 0, 0, -1, -1, -1], [-1, -1, 0, 0, -1, 0], [-1, -1, -1, 0, 0, -1]], np.int32))
HAMMING = Code(1, np.array([[(c >> r & 1) - 1 for c in range(1, 8)] for r in range(3)], np.int32))


def strings(n: int, errors: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two strings that differ where a binary symmetric channel made an error."""
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, n, np.uint8)
    return alice, alice ^ (rng.random(n) < errors).astype(np.uint8)


def run(ldpc: LDPC, n: int, errors: float, qber: float | None = None, channel: Channel | None = None, seed: int = 0):
    alice, bob = strings(n, errors, seed)
    channel = Channel() if channel is None else channel
    given = errors if qber is None else qber
    return ldpc.reconcile(alice, bob, given, channel, Seeded(Key.of(seed)))


def rank(H: np.ndarray) -> int:
    """Over GF(2), by elimination on rows as integers."""
    pivots: dict[int, int] = {}
    for row in H:
        value = int("".join(map(str, row)), 2)
        while value and value.bit_length() in pivots:
            value ^= pivots[value.bit_length()]
        if value:
            pivots[value.bit_length()] = value
    return len(pivots)


def codeword(H: np.ndarray) -> np.ndarray:
    """A word that is no zero with H·word = 0: rows of [Hᵀ | 1] are added until a left half vanishes."""
    pivots: dict[int, int] = {}
    checks, bits = H.shape
    for bit in range(bits):
        value = int("".join(map(str, H[:, bit])) + "".join("1" if bit == i else "0" for i in range(bits)), 2)
        while (top := (value >> bits).bit_length()) and top in pivots:
            value ^= pivots[top]
        if not value >> bits:
            return np.array(list(f"{value:0{bits}b}"), np.uint8)
        pivots[top] = value
    raise AssertionError(f"{checks} checks leave no codeword")


def cycle_through(neighbours: dict, start: tuple[int, int]) -> float:
    """Length of the shortest cycle near a node, by breadth first search; none is infinite."""
    distance, parent, queue, shortest = {start: 0}, {start: start}, [start], float("inf")
    for node in queue:
        for other in neighbours[node]:
            if other not in distance:
                distance[other], parent[other] = distance[node] + 1, node
                queue.append(other)
            elif parent[node] != other:
                shortest = min(shortest, distance[node] + distance[other] + 1)
        if distance[node] > 10:
            break
    return shortest


def probabilities(H: np.ndarray, syndrome: np.ndarray, q: float) -> tuple[np.ndarray, np.ndarray]:
    """All error patterns with a syndrome, and how likely they are."""
    patterns = np.array(list(itertools.product((0, 1), repeat=H.shape[1])))
    patterns = patterns[(patterns @ H.T % 2 == syndrome).all(axis=1)]
    weights = patterns.sum(axis=1)
    likely = q**weights * (1 - q) ** (H.shape[1] - weights)
    return patterns, likely / likely.sum()


@pytest.mark.parametrize("splits", [0, 1, 7, 12])
def test_syndromes_are_those_of_the_matrix(splits: int) -> None:
    small = grown(12, 5)
    bits = np.random.default_rng(1).integers(0, 2, small.bits, np.uint8)
    halves = small.halves(bits)
    layers = np.concatenate((halves[: 2 * splits], (halves[::2] ^ halves[1::2])[splits:]))
    np.testing.assert_array_equal(layers.ravel(), small.dense(splits) @ bits.astype(int) % 2)
    np.testing.assert_array_equal(small.syndromes(bits).ravel(), small.dense() @ bits.astype(int) % 2)


def test_a_split_row_is_the_sum_of_its_halves() -> None:
    small = grown(12, 5)
    whole, split = small.dense().reshape(12, 5, -1), small.dense(12).reshape(12, 2, 5, -1)
    np.testing.assert_array_equal(whole, split.sum(axis=1))
    sizes = split.sum(axis=3)
    assert abs(sizes[:, 0].astype(int) - sizes[:, 1]).max() <= 1


def test_the_matrix_is_the_lifted_table() -> None:
    table = np.array([[1, -1, 0], [-1, 2, 1]], np.int32)
    shifts = {s: np.roll(np.eye(3, dtype=np.uint8), s, axis=1) for s in range(3)} | {-1: np.zeros((3, 3), np.uint8)}
    np.testing.assert_array_equal(Code(3, table).dense(), np.block([[shifts[int(s)] for s in row] for row in table]))


@pytest.mark.parametrize(("rows", "row_degree"), [(38, 41.45), (51, 29.40), (64, 25.25), (90, 17.84), (115, 10.70)])
def test_degrees_are_the_published_ones(rows: int, row_degree: float) -> None:
    """The table gives the checks' degrees too; the rate ties them to the bits' degrees, which are all that is used."""
    assert column_degrees(rows).sum() / rows == pytest.approx(row_degree, rel=0.025)


def test_rows_are_even_and_columns_as_wanted() -> None:
    code = grown(61, 256)
    entries = code.table >= 0
    np.testing.assert_array_equal(entries.sum(axis=0), column_degrees(61))
    assert np.ptp(entries.sum(axis=1)) <= 2
    assert code.table.max() < 256


@pytest.mark.parametrize("rows", [40, 79])
def test_no_cycles_of_four(rows: int) -> None:
    """Two rows of the table never differ by the same shift in two columns (Fossorier 2004, Theorem 2.1)."""
    table = grown(rows, 256).table
    for first, second in itertools.combinations(table, 2):
        both = (first >= 0) & (second >= 0)
        differences = (first[both] - second[both]) % 256
        assert len(np.unique(differences)) == len(differences)


def test_the_matrix_has_full_rank_nearly() -> None:
    H = grown(40, 8).dense()
    assert rank(H) >= len(H) - 4
    assert rank(np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]])) == 2


def test_the_same_numbers_mean_the_same_code() -> None:
    again = grown.__wrapped__(20, 16)
    np.testing.assert_array_equal(again.table, grown(20, 16).table)


@pytest.mark.parametrize("known", [0, 1])
@pytest.mark.parametrize("syndrome", list(itertools.product((0, 1), repeat=3)))
def test_odds_on_a_tree_are_exact(syndrome: tuple[int, ...], known: int) -> None:
    patterns, likely = probabilities(TREE.dense(), np.array(syndrome), q := 0.11)
    if known:
        likely = likely * (patterns[:, -1] == 0)
    decoder = Decoder(TREE, q, np.arange(6) >= 6 - known, np.array(syndrome, np.uint8)[:, None])
    for _ in range(5):
        decoder.run(1)
    zero = np.array([(likely * (bit == 0)).sum() for bit in patterns.T]) / likely.sum()
    assert decoder.zero == pytest.approx(zero, abs=1e-5)


@pytest.mark.parametrize("syndrome", list(itertools.product((0, 1), repeat=3)))
def test_decoding_the_hamming_code_is_maximum_likelihood(syndrome: tuple[int, ...]) -> None:
    patterns, likely = probabilities(HAMMING.dense(), np.array(syndrome), 0.05)
    decoder = Decoder(HAMMING, 0.05, np.zeros(7, bool), np.array(syndrome, np.uint8)[:, None])
    assert decoder.run(30)
    np.testing.assert_array_equal(decoder.errors, patterns[likely.argmax()])


def test_a_split_on_a_tree_is_exact_too() -> None:
    errors = np.array([1, 0, 0, 0, 1, 0], np.uint8)
    decoder = Decoder(TREE, 0.1, np.zeros(6, bool), TREE.syndromes(errors))
    decoder.run(5)
    decoder.split(TREE.halves(errors)[:4:2])
    for _ in range(5):
        decoder.run(1)
    checks = TREE.dense(2)
    patterns, likely = probabilities(checks, checks @ errors % 2, 0.1 * 5 / 3)
    assert decoder.zero == pytest.approx([likely[bit == 0].sum() for bit in patterns.T], abs=1e-5)


@pytest.mark.parametrize("errors", [0.02, 0.035, 0.05])
def test_frames_decode_at_an_efficiency_below_1_15(errors: float) -> None:
    n = 4 * 65_536
    alice, bob = strings(n, errors)
    done = LDPC().reconcile(alice, bob, errors, Channel(), Seeded(Key.of(0)))
    assert (done.frames, done.failed) == (4, 0)
    np.testing.assert_array_equal(done.alice, alice)
    np.testing.assert_array_equal(done.bob, alice)
    assert (
        binary_entropy((alice ^ bob).mean()) * 0.99 < (done.disclosed + done.asked) / n < 1.15 * binary_entropy(errors)
    )


def test_the_leak_is_what_the_transcript_holds() -> None:
    channel = Channel()
    done = run(LDPC(frame=4096, efficiency=1.0), 3 * 4096 + 5, 0.04, channel=channel)
    kinds = channel.by_kind()
    assert channel.leaked == done.disclosed + done.asked
    assert done.disclosed == kinds["ldpc syndromes"] + kinds["ldpc tags"] + kinds["ldpc halves"]
    assert kinds["ldpc tags"] == 32 * done.frames
    assert done.asked == kinds["ldpc undecoded"]
    assert kinds["ldpc halves"] > 0
    for message in channel.transcript[1:]:
        assert message.leaked == int.from_bytes(message.body[:4], "little")
        assert len(message.body) == 4 + -(-message.leaked // 8)
        assert message.sender == (BOB if message.kind == "ldpc undecoded" else ALICE)


@pytest.mark.parametrize("qber", [0.0175, 0.07])
def test_a_wrong_qber_costs_efficiency_only(qber: float) -> None:
    alice, bob = strings(2 * 8192, 0.035)
    done = LDPC(frame=8192).reconcile(alice, bob, qber, Channel(), Seeded(Key.of(0)))
    assert done.failed == 0
    np.testing.assert_array_equal(done.bob, alice)
    assert done.disclosed < 2.2 * binary_entropy(0.035) * 2 * 8192


def test_errors_in_one_burst_cost_no_more() -> None:
    n = 4 * 8192
    alice = strings(n, 0.0)[0]
    bob = alice.copy()
    bob[1000 : 1000 + n // 25] ^= 1
    burst = LDPC(frame=8192).reconcile(alice, bob, 0.04, Channel(), Seeded(Key.of(0)))
    spread = LDPC(frame=8192).reconcile(alice, strings(n, 0.04)[1], 0.04, Channel(), Seeded(Key.of(0)))
    np.testing.assert_array_equal(burst.bob, alice)
    assert burst.disclosed < 1.1 * spread.disclosed


def test_frames_that_fail_are_dropped_on_both_sides() -> None:
    n = 40 * 512
    alice, bob = strings(n, 0.05)
    done = LDPC(frame=512, iterations=2).reconcile(alice, bob, 0.02, Channel(), Seeded(Key.of(0)))
    assert done.frames == 40
    assert 0 < done.failed < 40
    assert len(done.alice) == len(done.bob) == n - 512 * done.failed
    assert (done.alice ^ done.bob).mean() < 0.01
    left = iter(alice)
    assert all(bit in left for bit in done.alice), "bits keep their order"


def test_hopeless_strings_give_nothing() -> None:
    done = run(LDPC(frame=1000, iterations=5), 2000, 0.5, qber=0.01)
    assert (done.frames, done.failed, len(done.alice), len(done.bob)) == (2, 2, 0, 0)


@pytest.mark.parametrize(("n", "errors", "qber"), [(0, 0, 0.02), (1, 0, 0.02), (257, 0.02, 0.02), (3000, 0, 0.0)])
def test_short_and_clean_strings(n: int, errors: float, qber: float) -> None:
    done = run(LDPC(), n, errors, qber)
    assert done.failed == 0
    np.testing.assert_array_equal(done.alice, strings(n, errors)[0])
    np.testing.assert_array_equal(done.bob, done.alice)


def test_equal_strings_at_the_largest_qber() -> None:
    done = run(LDPC(), 3000, 0.0, 0.5)
    np.testing.assert_array_equal(done.bob, done.alice)


@pytest.mark.parametrize("kind", ["ldpc order", "ldpc syndromes", "ldpc tags", "ldpc undecoded", "ldpc halves"])
def test_messages_of_another_length_are_refused(kind: str) -> None:
    def shorten(message: Message) -> bytes:
        return pack_bits(np.zeros(1000, np.uint8)) if message.kind == kind else message.body

    with pytest.raises(PayloadError):
        run(LDPC(frame=1024, efficiency=0.8), 2048, 0.04, channel=Channel(shorten))


@pytest.mark.parametrize("kind", ["ldpc syndromes", "ldpc tags"])
def test_altered_messages_make_the_frame_fail(kind: str) -> None:
    def alter(message: Message) -> bytes:
        if message.kind != kind:
            return message.body
        return message.body[:-1] + bytes([message.body[-1] ^ 128])

    done = run(LDPC(frame=2048, iterations=10), 4096, 0.02, channel=Channel(alter))
    assert done.failed == 1
    np.testing.assert_array_equal(done.bob, done.alice)


def test_a_frame_with_the_syndrome_and_not_the_tag_is_not_taken() -> None:
    """Bob's errors are a codeword, of which the decoder sees nothing."""
    code = grown(8, 8)
    word = codeword(code.dense())
    alice = np.random.default_rng(0).integers(0, 2, code.bits, np.uint8)
    sender = Sender(alice, bytes(16), code, code.bits)
    receiver = Receiver(alice, bytes(16), code, code.bits, 0.01, 10)
    receiver._frames[0] ^= word
    syndromes = sender.open()
    np.testing.assert_array_equal(receiver.open(syndromes, receiver.tag(receiver._frames[0])), [0])
    receiver = Receiver(alice, bytes(16), code, code.bits, 0.01, 10)
    receiver._frames[0] ^= word
    np.testing.assert_array_equal(receiver.open(syndromes, sender.tags()), [1])


@pytest.mark.parametrize(("rows", "lifting"), [(61, 256), (61, 272)])
def test_bits_with_two_checks_make_no_short_codewords(rows: int, lifting: int) -> None:
    """Such bits are edges between their checks, and a cycle of them is a codeword as heavy as it is long."""
    table = grown(rows, lifting).table
    light = np.flatnonzero((table >= 0).sum(axis=0) == 2)
    neighbours: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for column in light:
        first, second = np.flatnonzero(table[:, column] >= 0)
        for v in range(lifting):
            ends = [(int(r), int(v - table[r, column]) % lifting) for r in (first, second)]
            neighbours.setdefault(ends[0], []).append(ends[1])
            neighbours.setdefault(ends[1], []).append(ends[0])
    starts = [(row, 0) for row in range(rows) if (row, 0) in neighbours]
    assert min(cycle_through(neighbours, start) for start in starts) >= 16


@pytest.mark.parametrize(
    ("alice", "bob", "qber"),
    [([0, 2], [0, 1], 0.02), ([0, 1], [0, 1], 0.6), ([0, 1], [0, 1], float("nan"))],
    ids=["not bits", "qber", "nan"],
)
def test_bad_input_is_refused(alice: list[int], bob: list[int], qber: float) -> None:
    with pytest.raises(ConfigError):
        LDPC().reconcile(np.array(alice, np.uint8), np.array(bob, np.uint8), qber, Channel(), Seeded(Key.of(0)))


def test_strings_of_different_lengths_are_refused() -> None:
    unchecked = getattr(LDPC.reconcile, "__wrapped__", LDPC.reconcile)  # the types of the tests see it before
    with pytest.raises(ConfigError):
        unchecked(LDPC(), np.zeros(2, np.uint8), np.zeros(1, np.uint8), 0.02, Channel(), Seeded(Key.of(0)))


@pytest.mark.parametrize(
    ("option", "value"), [("frame", 0), ("iterations", 0), ("efficiency", 0.0), ("deviations", -1.0)]
)
def test_bad_configurations_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError):
        LDPC(**{option: value})


@pytest.mark.parametrize(("rows", "lifting"), [(7, 4), (161, 4), (20, 0)])
def test_codes_out_of_range_are_refused(rows: int, lifting: int) -> None:
    with pytest.raises(ConfigError):
        grown(rows, lifting)
