import numpy as np
import pytest

from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.key import Key
from qfedfm.qkd import toeplitz
from qfedfm.qkd.channel import Channel, Message
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.toeplitz import amplify, toeplitz_hash, toeplitz_sums


def matrix(seed: np.ndarray, n: int, length: int) -> np.ndarray:
    """[I | T], entry by entry."""
    m = n - length
    t = [[seed[i - j + m - 1] for j in range(m)] for i in range(length)]
    return np.hstack([np.eye(length, dtype=int), np.array(t, int).reshape(length, m)])


@pytest.mark.parametrize(("n", "length"), [(1, 0), (1, 1), (2, 1), (7, 7), (64, 13), (65, 64), (300, 111), (301, 1)])
@pytest.mark.parametrize("tile", [4, 32, 2**18])
def test_hash_is_the_matrix_product(n, length, tile):
    entropy = Seeded(Key.of(n))
    bits, seed = entropy.bits(n), entropy.bits(n - 1)
    expected = matrix(seed, n, length) @ bits % 2
    assert toeplitz_hash(bits, seed, length, tile).tolist() == expected.tolist()


def test_two_inputs_collide_as_seldom_as_they_should():
    """All seeds and all differences of 6 bits to 3: two-universal means at most 2⁻³ of the seeds."""
    n, length = 6, 3
    seeds = [np.array([s >> i & 1 for i in range(n - 1)], np.uint8) for s in range(2 ** (n - 1))]
    matrices = [matrix(seed, n, length) for seed in seeds]
    for number in range(1, 2**n):
        difference = np.array([number >> i & 1 for i in range(n)], np.uint8)
        zero = [not (m @ difference % 2).any() for m in matrices]
        assert sum(zero) <= len(seeds) * 2**-length
        assert zero == [not toeplitz_hash(difference, seed, length).any() for seed in seeds]


def test_rounding_is_far_from_going_wrong():
    """With all ones the sums are the largest there are, 2¹⁹, and known."""
    n = 2**20
    ones = np.ones(n // 2, np.uint8)
    sums = toeplitz_sums(ones, np.ones(n - 1, np.uint8), n // 2, 2**18)
    assert np.abs(sums - n // 2).max() < 1e-6
    entropy = Seeded(Key.of(1))
    x, seed = entropy.bits(n // 2), entropy.bits(n - 1)
    sums = toeplitz_sums(x, seed, n // 2, 2**18)
    assert np.abs(sums - np.rint(sums)).max() < 1e-6
    row = 200_001
    by_hand = int(seed[row : row + n // 2][::-1].astype(np.int64) @ x)
    assert np.rint(sums[row]) == by_hand


def test_a_sum_that_cannot_be_trusted_is_refused(monkeypatch):
    monkeypatch.setattr(toeplitz, "_MARGIN", -1.0)
    with pytest.raises(ConfigError, match="no whole number"):
        toeplitz_hash(np.ones(8, np.uint8), np.ones(7, np.uint8), 3)


@pytest.mark.parametrize(("n", "seed", "length"), [(8, 7, 9), (8, 6, 3), (8, 7, -1)])
def test_sizes_that_do_not_fit_are_refused(n, seed, length):
    with pytest.raises(ConfigError):
        toeplitz_hash(np.zeros(n, np.uint8), np.zeros(seed, np.uint8), length)


def test_both_sides_get_the_same_key_with_a_seed_that_is_told():
    entropy, channel = Seeded(Key.of(2)), Channel()
    bits = entropy.bits(5000)
    alice, bob = amplify(bits, bits.copy(), 1234, channel, entropy)
    again, _ = amplify(bits, bits.copy(), 1234, channel, entropy)
    assert (alice == bob).all()
    assert len(alice) == 1234
    assert (alice != again).any(), "a fresh seed each time"
    assert channel.leaked == 0
    assert [message.kind for message in channel.transcript] == ["amplification seed"] * 2


def test_a_seed_of_another_length_is_refused():
    def cut(message: Message) -> bytes:
        return message.body[:-1]

    with pytest.raises(PayloadError):
        amplify(np.ones(99, np.uint8), np.ones(99, np.uint8), 9, Channel(cut), Seeded(Key.of(0)))
