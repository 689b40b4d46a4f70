import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.ring import WIDTHS, Ring, needed


@given(st.sampled_from(WIDTHS), st.integers(1, 20), st.integers(1, 2**20), st.integers(1, 1000), st.randoms())
def test_a_sum_that_fits_is_read_back_and_one_more_does_not_fit(bits, clients, bound, weight, random):
    ring = Ring(bits)
    if ring.modulus < needed(clients, bound, weight):
        with pytest.raises(StackError, match=f"2\\^{bits}.*at least"):
            ring.check(clients, bound, weight)
        return
    ring.check(clients, bound, weight)
    weights = [random.randint(1, weight) for _ in range(clients)]
    numbers = [[random.choice([-bound, bound, random.randint(-bound, bound)]) for _ in range(3)] for _ in weights]
    total = np.zeros(3, ring.dtype)
    for w, q in zip(weights, numbers, strict=True):
        total += ring.elements(np.array(q)) * ring.dtype.type(w)
    exact = [sum(w * q[i] for w, q in zip(weights, numbers, strict=True)) for i in range(3)]
    assert ring.integers(total).tolist() == exact


@pytest.mark.parametrize("bits", WIDTHS)
def test_the_limit_is_the_largest_sum_that_is_read_back(bits):
    """n · bound · w of (2^b − 1)/2, rounded down, fits; with one more the sum of the extremes comes out negative."""
    ring, most = Ring(bits), 2 ** (bits - 1) - 1
    ring.check(1, most, 1)
    assert ring.integers(ring.elements(np.array([most, -most]))).tolist() == [most, -most]
    with pytest.raises(StackError):
        ring.check(1, most + 1, 1)
    assert ring.integers(ring.elements(np.array([most])) + ring.dtype.type(1)).tolist() == [-(2 ** (bits - 1))]


def test_the_smallest_ring_is_chosen():
    assert Ring.holding(50, 2**15 - 1, 1000) == Ring(32)
    assert Ring.holding(50, 2**15 - 1, 2000) == Ring(64)
    with pytest.raises(StackError, match="wider"):
        Ring.holding(2**20, 2**31, 2**20)


def test_refuses_what_is_no_ring_or_no_round():
    with pytest.raises(ConfigError, match="32 or 64"):
        Ring(16)
    for wrong in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(StackError, match="at least 1"):
            Ring().check(*wrong)
