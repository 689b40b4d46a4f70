import math

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.key import Key
from qfedfm.qkd.channel import Channel
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.verification import tag_bits, verify


def test_equal_strings_are_equal_and_the_tag_is_what_leaks():
    entropy, channel = Seeded(Key.of(0)), Channel()
    bits = entropy.bits(10_001)
    assert verify(bits, bits.copy(), 1e-15, channel, entropy)
    assert channel.leaked == tag_bits(10_001, 1e-15) == 50


@pytest.mark.parametrize("place", [0, 119, 120, 5000, 9999])
def test_one_wrong_bit_is_noticed(place):
    entropy = Seeded(Key.of(place))
    bits = entropy.bits(10_000)
    other = bits.copy()
    other[place] ^= 1
    assert not verify(bits, other, 1e-15, Channel(), entropy)
    assert not verify(bits, bits[:-1], 1e-15, Channel(), entropy)


def test_differences_pass_as_often_as_is_said():
    """ε_cor = 1/4 makes tags of two bits: a quarter of the differences pass, within four standard deviations."""
    entropy, runs = Seeded(Key.of(9)), 4000
    bits = entropy.bits(40)
    other = bits.copy()
    other[7] ^= 1
    assert tag_bits(40, 0.25) == 2
    passed = sum(verify(bits, other, 0.25, Channel(), entropy) for _ in range(runs))
    assert abs(passed / runs - 0.25) < 4 * math.sqrt(0.25 * 0.75 / runs)


@pytest.mark.parametrize("correctness", [0.5, 1e-3, 2.0**-50, 1e-15, 3e-16, 1e-30])
def test_the_tag_is_as_long_as_the_lengths_subtract(correctness):
    bits = tag_bits(10**6, correctness)
    assert 2.0**-bits <= correctness
    assert bits <= math.ceil(math.log2(2 / correctness))


@pytest.mark.parametrize(("count", "correctness"), [(10, 0.0), (10, 0.6), (10, 1e-40), (10**9, 2.0**-115)])
def test_what_cannot_be_promised_is_refused(count, correctness):
    with pytest.raises(ConfigError):
        tag_bits(count, correctness)


@pytest.mark.parametrize("byte", range(45))
def test_no_altered_verification_passes_for_a_good_one(byte):
    """45 bytes: point, matrix, tag. Only diagonals that are not part of the matrix may change without effect."""
    bits = Seeded(Key.of(1)).bits(1000)

    def flip(message):
        body = bytearray(message.body)
        if message.kind == "verification":
            body[byte] ^= 1
        return bytes(body)

    assert not verify(bits, bits, 1e-15, Channel(flip), Seeded(Key.of(2))) or byte not in range(16)


@pytest.mark.parametrize(
    "between",
    [
        lambda m: m.body[:-1],
        lambda m: m.body + b"\0",
        lambda m: b"\xff" * 16 + m.body[16:],
        lambda m: b"\x02" if m.kind == "verified" else m.body,
        lambda m: b"" if m.kind == "verified" else m.body,
    ],
    ids=["short", "long", "point", "verdict", "silence"],
)
def test_malformed_messages_are_refused(between):
    with pytest.raises(PayloadError):
        verify(np.ones(9, np.uint8), np.ones(9, np.uint8), 1e-15, Channel(between), Seeded(Key.of(0)))


def test_a_verdict_that_was_turned_round_makes_no_key():
    entropy = Seeded(Key.of(4))
    bits, other = np.ones(9, np.uint8), np.zeros(9, np.uint8)
    lie = Channel(lambda m: bytes([1 - m.body[0]]) if m.kind == "verified" else m.body)
    assert not verify(bits, other, 1e-15, lie, entropy)
    assert not verify(bits, bits, 1e-15, lie, entropy)
