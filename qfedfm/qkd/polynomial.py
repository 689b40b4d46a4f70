"""A universal hash: a message as a polynomial over the field of 2^127 − 1 elements, evaluated at a secret point."""

from __future__ import annotations

from collections.abc import Callable

PRIME = 2**127 - 1
FIELD_BYTES = 16
_BLOCK, _FIELD_BITS = 15, 127


def polynomial_hash(message: bytes, point: int) -> int:
    """Σ_{i=1}^{L} c_i r^{L−i+1} mod 2^127 − 1, c_i the i-th 15 bytes of the message with a one bit after them.

    Wegman & Carter, J. Comput. Syst. Sci. 22, 265 (1981); den Boer 1993; the one bit after each block, as in
    Bernstein's Poly1305 (2005), makes messages of different lengths different polynomials. For two messages and any δ
    the hashes differ by δ at no more than L of the points (`collision_bound`).

    Args:
        message: any bytes.
        point: r, 0 ≤ r < 2^127 − 1.

    Example:
        >>> polynomial_hash(b"", 5), polynomial_hash(bytes(1), 5)
        (0, 1280)
    """
    value = 0
    for start in range(0, len(message), _BLOCK):
        block = message[start : start + _BLOCK]
        value = (value + int.from_bytes(block, "little") + (1 << 8 * len(block))) * point % PRIME
    return value


def collision_bound(size: int) -> float:
    """L/(2^127 − 1): how likely hashes of two messages of at most ``size`` bytes are to differ by a given δ."""
    return -(-size // _BLOCK) / PRIME


def matrix_bytes(bits: int) -> int:
    """Seed of `compress` to that many bits."""
    return -(-(_FIELD_BITS + bits - 1) // 8)


def compress(value: int, matrix: bytes, bits: int) -> bytes:
    """T v over GF(2), T a Toeplitz matrix of t × 127 fair bits: row i is bits i to i + 126 of the seed.

    For two elements of the field the results differ by any given δ with probability 2^{−t} exactly, so that
    `polynomial_hash` and this one together do so with probability at most L/(2^127 − 1) + 2^{−t}.

    Args:
        value: v, an element of the field.
        matrix: `matrix_bytes` of seed.
        bits: t.
    """
    diagonals = int.from_bytes(matrix, "little")
    packed = sum((((diagonals >> i) & value & PRIME).bit_count() & 1) << i for i in range(bits))
    return packed.to_bytes(-(-bits // 8), "little")


def field_element(draw: Callable[[int], bytes]) -> int:
    """A uniform element of the field from fair bytes; draws again in the one case of 2^127 that has no element."""
    while True:
        value = int.from_bytes(draw(FIELD_BYTES), "little") & PRIME
        if value != PRIME:
            return value
