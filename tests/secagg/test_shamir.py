import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfedfm.core.errors import ConfigError, RoundError
from qfedfm.core.key import Key
from qfedfm.qkd.entropy import Entropy, Seeded, System
from qfedfm.secagg.shamir import _inverses, _products, commitment, fits, join, split


class Given(Entropy):
    """Gives the bytes that it was made with."""

    label, secret = "INSECURE: a test's", False

    def __init__(self, coefficients: np.ndarray) -> None:
        self._rest = coefficients.astype(np.uint8).tobytes()

    def bytes(self, count: int) -> bytes:
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken


def test_products_are_those_of_aes():
    """FIPS 197, section 4.2: {57}·{83} = {c1}, {57}·{13} = {fe}; every element but 0 has an inverse."""
    product, inverse = _products(), _inverses()
    assert product[0x57, 0x83] == 0xC1
    assert product[0x57, 0x13] == 0xFE
    assert (product[np.arange(1, 256), inverse[1:]] == 1).all()
    assert (product == product.T).all()
    a, b, c = np.random.default_rng(0).integers(0, 256, (3, 10_000))
    assert (product[a, product[b, c]] == product[product[a, b], c]).all()
    assert (product[a, b ^ c] == product[a, b] ^ product[a, c]).all()


@settings(max_examples=40)
@given(st.binary(min_size=1, max_size=40), st.integers(1, 20), st.data())
def test_any_threshold_of_shares_gives_the_secret(secret, holders, data):
    threshold = data.draw(st.integers(1, holders))
    shares = split(secret, holders, threshold, System())
    chosen = data.draw(st.permutations(range(1, holders + 1)))[:threshold]
    assert join({x: shares[x - 1] for x in chosen}, threshold) == secret


@pytest.mark.parametrize("secret", [0, 0x57])
@pytest.mark.parametrize("threshold", [2, 3])
def test_fewer_shares_are_uniform_whatever_the_secret(secret, threshold):
    """Over all coefficients, each value of t − 1 shares comes out exactly once: all 256^(t−1) polynomials are tried."""
    count = 256 ** (threshold - 1)
    every = np.array(list(itertools.product(range(256), repeat=threshold - 1))).T
    shares = np.array([list(s) for s in split(bytes([secret]) * count, 5, threshold, Given(every))])
    for chosen in itertools.combinations(range(5), threshold - 1):
        seen = {tuple(column) for column in shares[list(chosen)].T}
        assert len(seen) == count


def test_too_few_or_altered_shares_do_not_give_the_secret():
    secret = bytes(range(32))
    shares = dict(enumerate(split(secret, 7, 4, Seeded(Key.of(3))), start=1))
    with pytest.raises(RoundError, match=r"3 shares.*at least 4"):
        join({x: shares[x] for x in (1, 2, 5)}, 4)
    assert join({x: shares[x] for x in (1, 2, 5)}, 3) != secret
    altered = {**shares, 2: bytes(32)}
    assert join(altered, 4) != secret
    assert join({x: altered[x] for x in (1, 3, 4, 7)}, 4) == secret


def test_a_commitment_binds_share_salt_owner_holder_and_context():
    whole = (b"c" * 32, 3, 4, b"s" * 16, b"x" * 32)
    committed = commitment(*whole)
    assert fits(committed, *whole)
    for place, other in enumerate((b"d" * 32, 4, 5, b"t" * 16, b"y" * 32)):
        assert not fits(committed, *whole[:place], other, *whole[place + 1 :])


@pytest.mark.parametrize(("holders", "threshold"), [(3, 0), (3, 4), (256, 3)])
def test_refuses_numbers_that_are_none(holders, threshold):
    with pytest.raises(ConfigError, match=f"{threshold} of {holders}"):
        split(b"s", holders, threshold, System())


def test_refuses_points_where_the_secret_is():
    with pytest.raises(ConfigError, match="points"):
        join({0: b"s"}, 1)
    with pytest.raises(ConfigError, match="equal lengths"):
        join({1: b"s", 2: b"st"}, 2)
