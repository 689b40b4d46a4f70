"""Privacy amplification: a random Toeplitz matrix makes a short secret key of a long, partly known one."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
from jaxtyping import Complex128, Float64, UInt8

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.channel import ALICE, Channel, pack_bits, unpack_bits
from qfedfm.qkd.entropy import Entropy

_TILE = 2**17
"""Rows and columns of a tile: its transforms fit into the cache."""
_MARGIN = 0.25
"""How far a sum may be from a whole number; sums of up to 10⁸ ones stay below 10⁻⁶."""


def toeplitz_hash(
    bits: UInt8[np.ndarray, " n"], seed: UInt8[np.ndarray, " s"], length: int, tile: int = _TILE
) -> UInt8[np.ndarray, " l"]:
    """[I | T] x over GF(2), T_ij = seed_{i − j + n − l − 1}: the modified Toeplitz hash of n bits to l.

    Two inputs collide with probability at most 2^{−l} over the seed (Krawczyk 1994; with the identity in front,
    Hayashi & Tsurumaru, arXiv 1311.5322), for n − 1 bits of seed. The sums are counted by FFT of float64 in tiles and
    then taken mod 2, which is exact: float32 would silently give wrong bits from 10⁶ bits on.

    Args:
        bits: x.
        seed: n − 1 fair bits, drawn after x was fixed.
        length: l, 0 to n.
        tile: rows and columns that are transformed together.

    Raises:
        ConfigError: the length or the seed does not fit.

    Example:
        >>> x = np.array([1, 0, 1, 1], np.uint8)
        >>> toeplitz_hash(x, np.array([1, 0, 0], np.uint8), 2).tolist()  # T = [[0, 1], [0, 0]]
        [0, 0]
    """
    if not 0 <= length <= len(bits) or len(seed) != max(len(bits) - 1, 0):
        given = f"{len(bits)} bits to {length} with a seed of {len(seed)}"
        raise ConfigError(given, "at most as many as go in, and a seed of one less")
    sums = toeplitz_sums(bits[length:], seed, length, tile)
    whole = np.rint(sums)
    if len(sums) and np.abs(sums - whole).max() > _MARGIN:
        raise ConfigError(f"a sum that is no whole number, over {len(bits)} bits", "fewer bits a block")
    hashed: UInt8[np.ndarray, " l"] = bits[:length] ^ (whole.astype(np.int64) & 1).astype(np.uint8)
    return hashed


def toeplitz_sums(
    x: UInt8[np.ndarray, " m"], seed: UInt8[np.ndarray, " s"], length: int, tile: int
) -> Float64[np.ndarray, " l"]:
    """Σ_j seed_{i − j + m − 1} x_j for i < l, before rounding.

    The seed of a tile depends only on its row less its column, so each is transformed once, and the products of a row
    are summed before they are transformed back.
    """
    m = len(x)
    if m == 0 or length == 0:
        return np.zeros(length)
    tile = min(tile, 2 ** math.ceil(math.log2(max(m, length))))
    rows, columns = -(-length // tile), -(-m // tile)
    padded = np.zeros((rows + columns) * tile, np.uint8)  # seed_d stands at d + columns·tile − m
    start = columns * tile - m
    padded[start : start + len(seed)] = seed
    inputs = [_transform(x[c * tile : (c + 1) * tile], tile) for c in range(columns)]
    seeds = [_transform(padded[d * tile : (d + 2) * tile - 1], tile) for d in range(rows + columns - 1)]
    sums = np.empty(rows * tile)
    for r in range(rows):
        total = seeds[r + columns - 1] * inputs[0]
        for c in range(1, columns):
            total += seeds[r + columns - 1 - c] * inputs[c]
        sums[r * tile : (r + 1) * tile] = scipy.fft.irfft(total, 2 * tile)[tile - 1 : 2 * tile - 1]
    return sums[:length]


def _transform(bits: UInt8[np.ndarray, " k"], tile: int) -> Complex128[np.ndarray, " f"]:
    return np.asarray(scipy.fft.rfft(bits.astype(np.float64), 2 * tile))


def amplify(
    alice: UInt8[np.ndarray, " n"], bob: UInt8[np.ndarray, " n"], length: int, channel: Channel, entropy: Entropy
) -> tuple[UInt8[np.ndarray, " l"], UInt8[np.ndarray, " l"]]:
    """Alice draws a seed and tells it; both hash their bits with it.

    The seed is drawn here, after the quantum phase and after everything else was said: an eavesdropper who knew it
    earlier could choose what to learn.

    Args:
        alice: her verified bits.
        bob: his.
        length: l that the proof allows.
        channel: carries the seed.
        entropy: of Alice.

    Raises:
        PayloadError: the seed that arrives has another length.
        ConfigError: the length does not fit.
    """
    count = max(len(alice) - 1, 0)
    seed = entropy.bits(count)
    arrived = unpack_bits(channel.send(ALICE, "amplification seed", pack_bits(seed)), count)
    return toeplitz_hash(alice, seed, length), toeplitz_hash(bob, arrived, length)
