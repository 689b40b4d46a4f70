"""Parameter estimation: a random subset of the sifted bits is told and compared, another becomes the key."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, UInt8

from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.qkd.channel import ALICE, BOB, Channel, pack_bits, unpack_bits
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.proof import Observed, PerIntensity, Sample
from qfedfm.qkd.sifting import Sifted

_LEVELS = 3
"""Intensities that the decoy proofs know."""


@dataclass(frozen=True)
class Estimated:
    """What both parties have after the test.

    Args:
        alice: her bits that are to become key.
        bob: his.
        seen: public.
    """

    alice: UInt8[np.ndarray, " n"] = field(repr=False)
    bob: UInt8[np.ndarray, " n"] = field(repr=False)
    seen: Observed


def estimate(sifted: Sifted, sample: Sample, channel: Channel, entropy: Entropy) -> Estimated:
    """Alice draws both subsets now, after sifting, tells them and her tested bits; Bob tells his, and both count.

    Tested bits never become key, so that telling them leaks nothing about it. Where there are fewer bits than asked
    for, all of them are taken, and the proof refuses.

    Args:
        sifted: bits of both parties.
        sample: how many of each kind.
        channel: between them.
        entropy: of Alice.

    Raises:
        ConfigError: any bit may be key or be tested, and the sample says only for neither how many to test.
        PayloadError: a message that arrives is not of the right form, or names a bit that may not be told or used.
    """
    tested = _draw(sifted.test, sample.test, entropy)
    if sample.test is None and bool((tested == sifted.key).all()) and tested.any():
        raise ConfigError("a test of all bits that could be key", "a number of bits to test")
    chosen = _draw(sifted.key & ~tested, sample.key, entropy)
    public = np.concatenate([tested, chosen]).view(np.uint8)
    body = pack_bits(np.concatenate([public, sifted.alice[tested]]))
    told, used, hers = _read_test(channel.send(ALICE, "test", body), sifted)
    reply = channel.send(BOB, "test answer", pack_bits(sifted.bob[told]))
    his = unpack_bits(reply, int(tested.sum()))
    seen = _count(sifted, chosen, tested, sifted.alice[tested] ^ his)
    if seen != _count(sifted, used, told, hers ^ sifted.bob[told]):
        raise PayloadError("a test that the parties count differently", "the same counts", "authenticate the channel")
    return Estimated(sifted.alice[chosen], sifted.bob[used], seen)


def _draw(among: Bool[np.ndarray, " m"], count: int | None, entropy: Entropy) -> Bool[np.ndarray, " m"]:
    """A random subset of that many, or all if there are fewer."""
    places = np.flatnonzero(among)
    if count is None or count >= len(places):
        return among
    chosen = np.zeros(len(among), bool)
    chosen[places[entropy.permutation(len(places))[:count]]] = True
    return chosen


def _read_test(
    body: bytes, sifted: Sifted
) -> tuple[Bool[np.ndarray, " m"], Bool[np.ndarray, " m"], UInt8[np.ndarray, " k"]]:
    """Bob's side: which bits are tested, which become key, and hers."""
    bits, m = unpack_bits(body), len(sifted.bob)
    told, used = bits[:m].astype(bool), bits[m : 2 * m].astype(bool)
    if len(bits) < 2 * m or len(bits) != 2 * m + int(told.sum()):
        raise PayloadError(f"a test of {len(bits)} bits", f"two for each of {m} and the tested ones")
    if (told & ~sifted.test).any() or (used & ~sifted.key).any() or (told & used).any():
        raise PayloadError("a test that names bits of the wrong kind", "key and test apart, each of its kind")
    return told, used, bits[2 * m :]


def _count(
    sifted: Sifted, key: Bool[np.ndarray, " m"], test: Bool[np.ndarray, " m"], wrong: UInt8[np.ndarray, " k"]
) -> Observed:
    counted = None
    if sifted.intensity is not None:
        if len(sifted.intensity) and sifted.intensity.max() >= _LEVELS:
            raise PayloadError("an intensity beyond the third", f"{_LEVELS} of them")
        levels = (sifted.intensity[key], sifted.intensity[test], sifted.intensity[test][wrong == 1])
        counted = PerIntensity(*(_triple(level) for level in levels))
    return Observed(int(key.sum()), int(test.sum()), int(wrong.sum()), counted)


def _triple(levels: UInt8[np.ndarray, " m"]) -> tuple[int, int, int]:
    first, second, third = np.bincount(levels, minlength=_LEVELS).tolist()
    return first, second, third
