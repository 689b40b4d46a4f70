"""Packing, rotation and entropy coding, which several codecs share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard as scipy_hadamard

import qfedfm as qf
from qfedfm.core.body import Reader
from qfedfm.core.errors import PayloadError
from qfedfm.layers._entropy import bits, decode, encode, largest
from qfedfm.layers._hadamard import Rotation, hadamard
from qfedfm.layers._packing import pack, packed_length, unpack


@given(st.integers(1, 20), st.integers(0, 70), st.integers(0, 99))
def test_packed_numbers_come_back(width, count, seed):
    values = np.random.default_rng(seed).integers(0, 2**width, count)
    body = pack(values, width)
    assert len(body) == packed_length(width, count)
    reader = Reader(body)
    np.testing.assert_array_equal(unpack(reader, width, count), values)
    reader.end()


@pytest.mark.parametrize("n", [1, 2, 32, 64, 128, 4096, 8192])
def test_the_transform_is_that_of_scipy(n):
    x = np.random.default_rng(n).normal(size=(3, n)).astype(np.float32)
    np.testing.assert_allclose(hadamard(x), x @ scipy_hadamard(n) / np.sqrt(n), atol=2e-5)


@pytest.mark.parametrize("size", [1, 7, 96, 1000, 4099])
def test_a_rotation_keeps_lengths_and_is_undone(size):
    x = np.random.default_rng(size).normal(size=size).astype(np.float32)
    rotation = Rotation(size, qf.Key.of(3), 256)
    y = rotation.forward(x)
    assert np.linalg.norm(y) == pytest.approx(np.linalg.norm(x), rel=1e-5)
    np.testing.assert_allclose(rotation.backward(y), x, atol=1e-5)
    other = Rotation(size, qf.Key.of(3), 256).forward(x)
    np.testing.assert_array_equal(other, y)


def test_a_rotation_makes_one_large_coordinate_even():
    x = np.zeros(1024, np.float32)
    x[5] = 32
    assert np.unique(np.abs(Rotation(1024, qf.Key.of(0)).forward(x)).round(5)).tolist() == [1.0]


@given(st.integers(1, 40), st.integers(1, 500), st.floats(0.05, 3), st.integers(0, 99))
def test_symbols_come_back(alphabet, count, skew, seed):
    rng = np.random.default_rng(seed)
    weights = rng.random(alphabet) ** (1 / skew)
    symbols = rng.choice(alphabet, count, p=weights / weights.sum())
    body = encode(symbols)
    assert len(body) <= largest(count)
    reader = Reader(body)
    np.testing.assert_array_equal(decode(reader, count), symbols)
    reader.end()


@pytest.mark.parametrize("spread", [0.3, 1.0, 8.0])
def test_a_stream_is_as_long_as_its_entropy(spread):
    symbols = np.round(np.random.default_rng(0).normal(size=2**17) * spread).astype(int)
    symbols -= symbols.min()
    p = np.bincount(symbols) / symbols.size
    entropy = float(-(p[p > 0] @ np.log2(p[p > 0])))
    found = 8 * len(encode(symbols)) / symbols.size
    assert entropy <= found <= entropy + 0.01
    assert bits(np.bincount(symbols)) / symbols.size == pytest.approx(found, abs=0.003)


@pytest.mark.parametrize(
    "body",
    [
        "", "000000000000", "0100010000000061616161", "020001000000000000000000", "020000000000ffff",
        "020009000000000061616161",
    ],
)  # fmt: skip
def test_what_is_no_stream_is_refused(body):
    with pytest.raises(PayloadError):
        decode(Reader(bytes.fromhex(body)), 4)


def test_a_stream_of_more_symbols_is_refused():
    body = encode(np.random.default_rng(0).integers(0, 9, 1000))
    with pytest.raises(PayloadError):
        decode(Reader(body), 10)
