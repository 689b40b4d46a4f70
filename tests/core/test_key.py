"""Keys against SHA-256 and PCG64 called directly."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfedfm.core.key import Key

steps = st.one_of(st.integers(-(2**70), 2**70), st.text(max_size=5))


def by_hand(seed: int, *path: int | str) -> bytes:
    digest = hashlib.sha256(b"qfedfm:%d" % seed).digest()
    for step in path:
        digest = hashlib.sha256(digest + (b"s" if isinstance(step, str) else b"i") + str(step).encode()).digest()
    return digest


@given(st.integers(-(2**70), 2**70), st.lists(steps))
def test_folding_is_a_chain_of_sha256(seed, path):
    assert Key.of(seed).fold(*path).digest == by_hand(seed, *path)


@given(st.lists(steps, unique=True, min_size=2, max_size=6))
def test_order_and_type_of_the_steps_matter(path):
    key = Key.of(0)
    assert key.fold(*path).digest != key.fold(*path[::-1]).digest
    assert key.fold(1).digest != key.fold("1").digest
    assert key.fold("a", "b").digest != key.fold("ab").digest
    assert key.fold(12).digest != key.fold(1, 2).digest


def test_folding_step_by_step_is_folding_at_once_and_numpy_integers_are_integers():
    assert Key.of(5).fold(1, "x", 2) == Key.of(5).fold(1).fold("x", 2)
    assert Key.of(5).fold() == Key.of(5)
    assert Key.of(5).fold(int(np.int64(3))) == Key.of(5).fold(3)
    assert hash(Key.of(5)) == hash(Key.of(5))


def test_numbers_come_from_pcg64_seeded_by_the_first_half_of_the_digest():
    seed = int.from_bytes(by_hand(9, "a", 4)[:16], "little")
    ours = Key.of(9).fold("a", 4).numpy().random(8)
    np.testing.assert_array_equal(ours, np.random.Generator(np.random.PCG64(seed)).random(8))


def test_the_integer_is_bits_of_the_second_half_of_the_digest():
    words = np.frombuffer(by_hand(9, "a"), "<u8")
    assert Key.of(9).fold("a").integer() == int(words[2]) // 2 < 2**63


def test_another_process_draws_the_same_numbers():
    program = (
        "from qfedfm.core.key import Key; k = Key.of(3).fold(2, 'b'); print(k.numpy().integers(2**60), k.integer())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    key = Key.of(3).fold(2, "b")
    assert run.stdout.split() == [str(key.numpy().integers(2**60)), str(key.integer())]


def test_the_streams_of_neighbouring_keys_are_independent():
    rows = np.stack([Key.of(1).fold(i).numpy().standard_normal(2000) for i in range(40)])
    correlations = np.corrcoef(rows)[np.triu_indices(40, 1)]
    # 780 correlations of standard deviation 1/√2000: the largest of them is below 5 of these
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)
    assert correlations.std() == pytest.approx(1 / np.sqrt(2000), rel=0.15)


def test_first_draws_over_keys_are_uniform():
    draws = np.sort([Key.of(2).fold("client", i).numpy().random() for i in range(3000)])
    distance = np.abs(draws - (np.arange(3000) + 0.5) / 3000).max()
    assert distance < 1.95 / np.sqrt(3000)  # Kolmogorov–Smirnov at 0.001
