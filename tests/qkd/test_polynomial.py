import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfedfm.qkd.polynomial import PRIME, collision_bound, field_element, polynomial_hash

POINTS = st.integers(0, PRIME - 1)


@given(st.binary(max_size=80), POINTS)
def test_hash_is_the_polynomial(message, point):
    blocks = [message[i : i + 15] + b"\x01" for i in range(0, len(message), 15)]
    terms = [int.from_bytes(c, "little") * pow(point, len(blocks) - i, PRIME) for i, c in enumerate(blocks)]
    assert polynomial_hash(message, point) == sum(terms) % PRIME


@pytest.mark.parametrize("pair", [(b"", b"\0"), (b"\0", b"\0\0"), (bytes(15), bytes(16)), (b"a", b"a\x01")])
def test_messages_that_differ_in_length_only_are_different_polynomials(pair):
    values = [{polynomial_hash(message, point) for message in pair} for point in (2, 3, 5, 7**30)]
    assert all(len(found) == 2 for found in values)


def test_differences_have_no_more_roots_than_blocks():
    """One block: the hashes differ by a given δ at exactly one point."""
    a, b = b"one", b"two"
    c = int.from_bytes(a + b"\x01", "little") - int.from_bytes(b + b"\x01", "little")
    delta = 123_456_789
    root = delta * pow(c, -1, PRIME) % PRIME
    assert (polynomial_hash(a, root) - polynomial_hash(b, root)) % PRIME == delta
    assert (polynomial_hash(a, root + 1) - polynomial_hash(b, root + 1)) % PRIME != delta
    assert collision_bound(3) == collision_bound(15) == 1 / PRIME
    assert collision_bound(16) == 2 / PRIME


def test_a_field_element_is_drawn_again_where_it_would_not_be_uniform():
    draws = iter([b"\xff" * 16, b"\xff" * 15 + b"\x7f", b"\x05" + bytes(14) + b"\x80"])
    assert field_element(lambda count: next(draws)) == 5
