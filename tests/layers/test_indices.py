"""Sets of indices: they come back, are as short as the number of such sets allows, and are checked."""

from itertools import combinations
from math import lgamma, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfedfm.core.body import Reader
from qfedfm.core.errors import PayloadError
from qfedfm.layers import _entropy
from qfedfm.layers._indices import decode, encode, largest


def drawn(d: int, k: int, seed: int = 0) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).choice(d, k, replace=False))


def crowded(d: int, k: int) -> np.ndarray:
    """Half of them side by side, the others far apart."""
    near = np.arange(d // 2, d // 2 + k // 2)
    return np.union1d(near, drawn(d // 2, k - k // 2))


def entropy(d: int, k: int) -> float:
    """Bytes that tell one of all sets of k of d."""
    return (lgamma(d + 1) - lgamma(k + 1) - lgamma(d - k + 1)) / log(2) / 8


def come_back(indices: np.ndarray, d: int) -> bytes:
    body = encode(indices, d)
    assert len(body) <= largest(len(indices), d)
    reader = Reader(body + b"next")
    np.testing.assert_array_equal(decode(reader, len(indices), d), indices)
    assert bytes(reader.rest()) == b"next"
    return body


def test_all_sets_of_few_come_back_and_differ():
    for d in range(1, 10):
        for k in range(d + 1):
            bodies = {come_back(np.array(chosen, np.int64), d) for chosen in combinations(range(d), k)}
            assert len(bodies) == len(list(combinations(range(d), k)))


@given(st.integers(1, 5000), st.floats(0, 1), st.integers(0, 99), st.booleans())
def test_sets_come_back(d, share, seed, front):
    k = round(share * d)
    come_back(np.arange(k) if front else drawn(d, k, seed), d)


@pytest.mark.parametrize("share", [1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("d", [3072, 2**18])
def test_a_set_is_as_long_as_its_entropy(d, share):
    k = max(1, round(share * d))
    body = come_back(drawn(d, k), d)
    least = entropy(d, k)
    assert least - 1 < len(body) < 1.02 * least + 8


@pytest.mark.parametrize(("k", "form"), [(26, 13), (2621, 7), (26214, 255), (104857, 255), (131072, 0)])
def test_the_cheapest_form_is_taken(k, form):
    assert encode(drawn(2**18, k), 2**18)[0] == form


@pytest.mark.parametrize("k", [600, 6000])
def test_indices_that_crowd_together_cost_less(k):
    body = come_back(crowded(2**18, k), 2**18)
    assert len(body) < 0.65 * entropy(2**18, k)


def test_golomb_rice_by_hand():
    """40 of d = 64 is 10 1000₂ with s = 4: a byte of length, 001 (2 in unary), and 1000 from its low end."""
    assert encode(np.array([40]), 64).hex() == "05" + "01" + "20" + "10"


def test_no_set_is_longer_than_the_bound():
    """Indices as far from what Golomb–Rice expects as can be: all at an end, all but one at an end."""
    for d, k in ((1000, 1), (1000, 2), (1000, 9), (4096, 512), (2**18, 300)):
        for indices in (np.arange(k), np.arange(d - k, d), np.r_[np.arange(k - 1), d - 1], np.arange(k) * (d // k)):
            come_back(indices, d)


BAD = {
    "no form": "",
    "a bitmap cut short": "00ff",
    "a bitmap of too few": "00" + "80" + "00" * 12,
    "a bitmap with a bit beyond the last": "00" + "c0" + "00" * 11 + "08",
    "low bits without end": "fe",
    "more low bits than d has": "08" + "01e0" + "000000",
    "a length beyond the most": "05" + "04" + "00" * 9,
    "too few gaps": "04" + "01" + "c0" + "0000",
    "too many gaps": "04" + "01" + "f0" + "0000",
    "a gap beyond d": "06" + "01" + "1c" + "ffff",
    "a stream that ends": "ff" + "0100",
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_what_is_no_set_of_three_of_a_hundred_is_refused(body):
    with pytest.raises(PayloadError):
        decode(Reader(bytes.fromhex(body)), 3, 100)


def test_a_class_of_gaps_beyond_d_is_refused():
    body = b"\xff" + _entropy.encode(np.array([0, 4000, 0]))
    with pytest.raises(PayloadError, match="class 4000"):
        decode(Reader(body), 3, 100)


@given(st.binary(max_size=60), st.integers(1, 40), st.sampled_from([0, 1, 4, 6, 255]))
def test_garbage_is_refused_or_a_set(garbage, k, form):
    try:
        found = decode(Reader(bytes([form]) + garbage), k, 100)
    except PayloadError:
        return
    assert len(found) == k
    assert (np.diff(found) > 0).all()
    assert 0 <= found[0] <= found[-1] < 100
