"""Shamir's secret sharing over GF(2⁸), each byte of a secret by itself; and commitments to shares."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from functools import cache

import numpy as np
from jaxtyping import UInt8

from qfedfm.core.errors import ConfigError, RoundError
from qfedfm.qkd.entropy import Entropy

MOST = 255
"""Shares that there can be: the points of GF(2⁸) other than 0, where the secret is."""
SALT = 16
_POLYNOMIAL = 0x11B
"""x⁸ + x⁴ + x³ + x + 1, that of AES."""


@cache
def _products() -> UInt8[np.ndarray, "256 256"]:
    """A · b for all pairs: carry-less, one bit of a at a time, reduced by the polynomial."""
    a, b = np.arange(256)[:, None], np.arange(256)[None, :]
    product = np.zeros((256, 256), np.int64)
    for bit in range(8):
        product ^= np.where(a >> bit & 1, b << bit, 0)
    for bit in range(14, 7, -1):
        product ^= np.where(product >> bit & 1, _POLYNOMIAL << (bit - 8), 0)
    return product.astype(np.uint8)


@cache
def _inverses() -> UInt8[np.ndarray, " 256"]:
    """1/a, and 0 for 0."""
    return np.asarray(np.argmax(_products() == 1, axis=1), np.uint8)


def split(secret: bytes, holders: int, threshold: int, entropy: Entropy) -> list[bytes]:
    """Shares f(1), …, f(n) of a secret f(0), f(x) = Σ_{j<t} a_j xʲ with uniform a₁, …, a_{t−1}, for each byte.

    Any t shares give the secret; fewer are uniform and independent of it.

    Shamir, Communications of the ACM 22(11), 1979. Differs from the paper: GF(2⁸) in the place of a prime field, so
    that shares are as long as the secret. Products are looked up in a table, which may show in the timing of memory.

    Args:
        secret: of any length.
        holders: n.
        threshold: t.
        entropy: what the coefficients come from.

    Returns:
        n shares, each as long as the secret.

    Raises:
        ConfigError: not 1 ≤ t ≤ n ≤ 255.

    Example:
        >>> from qfedfm.qkd.entropy import System
        >>> shares = split(b"secret", 5, 3, System())
        >>> join({1: shares[0], 4: shares[3], 5: shares[4]}, 3)
        b'secret'
    """
    if not 1 <= threshold <= holders <= MOST:
        expected = f"a threshold from 1 to the number of shares, which is at most {MOST}"
        raise ConfigError(f"{threshold} of {holders} shares", expected, "take a k-regular graph for many clients")
    drawn = np.frombuffer(entropy.bytes((threshold - 1) * len(secret)), np.uint8)
    coefficients = [np.frombuffer(secret, np.uint8), *drawn.reshape(threshold - 1, len(secret))]
    x, values = np.arange(1, holders + 1)[:, None], np.zeros((holders, len(secret)), np.uint8)
    for coefficient in reversed(coefficients):  # Horner
        values = _products()[x, values] ^ coefficient
    return [row.tobytes() for row in values]


def join(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """f(0) = Σᵢ f(xᵢ) ∏_{j≠i} xⱼ/(xⱼ − xᵢ) from the t shares with the smallest points.

    With a share that is not one of f, or too low a threshold, something else comes out: compare it with a commitment.

    Args:
        shares: f(x) by x.
        threshold: t.

    Raises:
        RoundError: fewer than t shares.
        ConfigError: shares of different lengths, or a point outside 1 … 255.
    """
    if len(shares) < threshold:
        raise RoundError(f"{len(shares)} shares of a secret", f"at least {threshold}")
    points = sorted(shares)[:threshold]
    if len({len(shares[x]) for x in points}) > 1 or not all(1 <= x <= MOST for x in points):
        raise ConfigError(f"shares at {points}", f"equal lengths and points from 1 to {MOST}")
    product, inverse = _products(), _inverses()
    secret = np.zeros(len(shares[points[0]]), np.uint8)
    for x in points:
        factor = 1
        for other in points:
            if other != x:
                factor = int(product[factor, product[other, inverse[other ^ x]]])
        secret ^= product[factor, np.frombuffer(shares[x], np.uint8)]
    return secret.tobytes()


def commitment(context: bytes, owner: int, holder: int, salt: bytes, share: bytes) -> bytes:
    """SHA-256 of a share with its salt: hides the share, and binds the owner to it.

    Args:
        context: of the round and of what is shared, 32 bytes.
        owner: whose secret it is a share of.
        holder: who keeps it.
        salt: 16 fresh bytes.
        share: the share.
    """
    ids = owner.to_bytes(4, "little") + holder.to_bytes(4, "little")
    return hashlib.sha256(b"qfedfm share commitment" + context + ids + salt + share).digest()


def fits(committed: bytes, context: bytes, owner: int, holder: int, salt: bytes, share: bytes) -> bool:
    """Whether a share is the one that was committed to, in constant time."""
    return hmac.compare_digest(committed, commitment(context, owner, holder, salt, share))
