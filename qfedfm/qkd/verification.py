"""Verification: a short hash shows whether reconciliation has left a difference."""

from __future__ import annotations

import hmac
import math

import numpy as np
from jaxtyping import UInt8

from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.qkd.channel import ALICE, BOB, Channel, pack_bits
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.polynomial import (
    FIELD_BYTES,
    PRIME,
    collision_bound,
    compress,
    field_element,
    matrix_bytes,
    polynomial_hash,
)

_EQUAL, _DIFFERENT = b"\x01", b"\x00"


def tag_bits(count: int, correctness: float) -> int:
    """t, the smallest with 2^{−t} + L/(2^127 − 1) ≤ ε_cor; at most ⌈log2(2/ε_cor)⌉: what the lengths subtract for it.

    Args:
        count: n, bits that are compared.
        correctness: ε_cor.

    Raises:
        ConfigError: ε_cor is not between 2^−120 and 1/2, or n is too large for it.

    Example:
        >>> tag_bits(100_000, 1e-15)
        50
    """
    if not 2.0**-120 <= correctness <= 0.5:
        raise ConfigError(f"ε_cor = {correctness}", "2^-120 to 1/2")
    left = correctness - collision_bound(-(-count // 8) + 4)
    if left < correctness / 2:
        raise ConfigError(f"{count} bits compared with ε_cor = {correctness}", "shorter blocks or a larger ε_cor")
    return math.ceil(-math.log2(left))


def verify(
    alice: UInt8[np.ndarray, " n"],
    bob: UInt8[np.ndarray, " m"],
    correctness: float,
    channel: Channel,
    entropy: Entropy,
) -> bool:
    """Whether the two strings are equal; False whenever they differ, but with probability ε_cor.

    Alice draws a hash after the strings are fixed, and sends it with the tag; Bob says whether his is the same. The
    hash is the polynomial one to 127 bits, then a random Toeplitz matrix to t: collisions have probability at most
    L/(2^127 − 1) + 2^{−t} (`tag_bits`). The tag's t bits are leaked.

    Args:
        alice: her bits.
        bob: his.
        correctness: ε_cor.
        channel: between them.
        entropy: of Alice.

    Raises:
        PayloadError: a message that arrives has another length or form.
    """
    bits = tag_bits(len(alice), correctness)
    size = -(-bits // 8)
    point, matrix = field_element(entropy.bytes), entropy.bytes(matrix_bytes(bits))
    body = point.to_bytes(FIELD_BYTES, "little") + matrix + _tag(alice, point, matrix, bits)
    arrived = channel.send(ALICE, "verification", body, leaked=bits)
    if len(arrived) != len(body):
        raise PayloadError(f"a verification of {len(arrived)} bytes", f"{len(body)}")
    told = int.from_bytes(arrived[:FIELD_BYTES], "little")
    if told >= PRIME:
        raise PayloadError("a point outside the field", "one below 2^127 - 1")
    own = _tag(bob, told, arrived[FIELD_BYTES:-size], bits)
    verdict = _EQUAL if hmac.compare_digest(own, arrived[-size:]) else _DIFFERENT
    heard = channel.send(BOB, "verified", verdict)
    if heard not in (_EQUAL, _DIFFERENT):
        raise PayloadError("a verdict that is neither yes nor no", "one byte, 0 or 1")
    return heard == verdict == _EQUAL


def _tag(bits: UInt8[np.ndarray, " n"], point: int, matrix: bytes, count: int) -> bytes:
    return compress(polynomial_hash(pack_bits(bits), point), matrix, count)
