"""Sifting: Bob tells which pulses he detected and how he measured, Alice answers which of them are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from qfedfm.core.body import Reader
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.qkd.b92 import conclusive
from qfedfm.qkd.channel import ALICE, BOB, Channel
from qfedfm.qkd.chsh import SIGNS
from qfedfm.qkd.e91 import CHSH_SETTINGS, KEY_SETTINGS
from qfedfm.qkd.exchange import Exchange, Half

_SETTINGS = 4
"""Settings of a party, at most; also intensities: two bits each on the channel."""

Pairs = Mapping[tuple[int, int], int]


@dataclass(frozen=True)
class Rule:
    """What pulses are good for, by Alice's setting and Bob's.

    Args:
        key: settings whose bits may become key, each with the XOR of the two bits of an undisturbed pulse.
        test: those whose bits may be tested, likewise; the same as ``key`` where there is one kind of bit.
        conclusive: Bob keeps what `b92.conclusive` keeps, and tells no setting.
    """

    key: Pairs
    test: Pairs
    conclusive: bool = False

    def select(self, bob: Half) -> Half:
        """What Bob announces: all his clicks, or the conclusive ones with their bits."""
        if not self.conclusive:
            return bob
        kept, bit = conclusive(bob.bit, bob.basis)
        return Half(bob.pulse[kept], bit[kept], np.zeros(int(kept.sum()), np.uint8))

    def may(self, pairs: Pairs, alice: UInt8[np.ndarray, " m"], bob: UInt8[np.ndarray, " m"]) -> Bool[np.ndarray, " m"]:
        """Which pulses have one of these pairs of settings."""
        table = np.zeros((_SETTINGS, _SETTINGS), bool)
        for pair in pairs:
            table[pair] = True
        found: Bool[np.ndarray, " m"] = table[alice, bob]
        return found

    def expected(self, alice: UInt8[np.ndarray, " m"], bob: UInt8[np.ndarray, " m"]) -> UInt8[np.ndarray, " m"]:
        """The XOR of the two bits of an undisturbed pulse."""
        table = np.zeros((_SETTINGS, _SETTINGS), np.uint8)
        for pair, value in {**self.key, **self.test}.items():
            table[pair] = value
        found: UInt8[np.ndarray, " m"] = table[alice, bob]
        return found


MATCHING = Rule(key={(0, 0): 0}, test={(1, 1): 0})
"""BB84 with and without decoys, BBM92: key in Z, test in X."""
CONCLUSIVE = Rule(key={(0, 0): 0}, test={(0, 0): 0}, conclusive=True)
"""B92: any conclusive bit may be key or be tested."""
EKERT = Rule(
    key=dict.fromkeys(KEY_SETTINGS, 0),
    test={
        (alice, bob): int(sign < 0)
        for alice, signs in zip(CHSH_SETTINGS, SIGNS.tolist(), strict=True)
        for bob, sign in zip(CHSH_SETTINGS, signs, strict=True)
    },
)
"""E91: key at equal angles, test with S = E₀₀ − E₀₂ + E₂₀ + E₂₂.

A pair of bits whose XOR is not the expected one has lost the game.
"""


@dataclass(frozen=True)
class Sifted:
    """What is left, in the same order on both sides.

    Args:
        alice: her bits.
        bob: his bits, XOR what is expected of an undisturbed pulse: equal to hers but for errors.
        key: which may become key; public.
        test: which may be tested; public.
        intensity: of each pulse, told by Alice; None without decoys.
    """

    alice: UInt8[np.ndarray, " m"] = field(repr=False)
    bob: UInt8[np.ndarray, " m"] = field(repr=False)
    key: Bool[np.ndarray, " m"] = field(repr=False)
    test: Bool[np.ndarray, " m"] = field(repr=False)
    intensity: UInt8[np.ndarray, " m"] | None = field(repr=False)


def sift(exchange: Exchange, rule: Rule, channel: Channel) -> Sifted:
    """One message from Bob, "clicks", and one from Alice, "bases"; nothing of it says anything about the bits.

    The number of pulses was fixed before the first, so that nobody's choice depends on how many have been kept
    (Pfister et al., arXiv 1506.07502).

    Args:
        exchange: the quantum phase.
        rule: of the protocol.
        channel: between them.

    Raises:
        PayloadError: a message that arrives is not of the right form.
        ConfigError: a setting or an intensity is beyond 3.
    """
    announced = rule.select(exchange.bob)
    arrived = channel.send(BOB, "clicks", _write_clicks(announced, exchange.pulses))
    clicks, bob_basis = _read_clicks(arrived, exchange.pulses)

    _, own, among = np.intersect1d(exchange.alice.pulse, clicks, assume_unique=True, return_indices=True)
    alice = _take(exchange.alice, own)
    answer = channel.send(ALICE, "bases", _write_bases(alice, among, len(clicks)))
    hers = _kept(rule, alice.basis, bob_basis[among])

    detected, alice_basis, intensity = _read_bases(answer, len(announced))
    bob_bit, bob_own = announced.bit[detected], announced.basis[detected]
    his = _kept(rule, alice_basis, bob_own)
    if hers.sum() != his.sum():
        given = f"{hers.sum()} pulses kept by Alice and {his.sum()} by Bob"
        raise PayloadError(given, "the same", "somebody alters messages: authenticate the channel")
    flip = rule.expected(alice_basis, bob_own)
    return Sifted(
        alice.bit[hers],
        (bob_bit ^ flip)[his],
        rule.may(rule.key, alice_basis, bob_own)[his],
        rule.may(rule.test, alice_basis, bob_own)[his],
        None if intensity is None else intensity[his],
    )


def _take(half: Half, own: Int64[np.ndarray, " k"]) -> Half:
    intensity = None if half.intensity is None else half.intensity[own]
    return Half(half.pulse[own], half.bit[own], half.basis[own], intensity)


def _kept(rule: Rule, alice: UInt8[np.ndarray, " m"], bob: UInt8[np.ndarray, " m"]) -> Bool[np.ndarray, " m"]:
    kept: Bool[np.ndarray, " m"] = rule.may(rule.key, alice, bob) | rule.may(rule.test, alice, bob)
    return kept


def _write_clicks(half: Half, pulses: int) -> bytes:
    """Their number, the gaps between them, and two bits of setting each."""
    if pulses > 2**32 - 1:
        raise ConfigError(f"{pulses} pulses", "below 2^32 a phase", "run several")
    gaps = np.diff(half.pulse, prepend=0)
    return np.array([len(half)], "<u4").tobytes() + gaps.astype("<u4").tobytes() + _write_pairs(half.basis)


def _read_clicks(body: bytes, pulses: int) -> tuple[Int64[np.ndarray, " m"], UInt8[np.ndarray, " m"]]:
    reader = Reader(body)
    count = int(reader.number("<u4"))
    gaps = reader.numbers("<u4", count).astype(np.int64)
    basis = _read_pairs(reader, count)
    reader.end()
    clicks = np.cumsum(gaps)
    if count and (clicks[-1] >= pulses or (gaps[1:] == 0).any()):
        raise PayloadError("clicks that are not among the pulses", f"ascending numbers below {pulses}")
    return clicks, basis


def _write_bases(alice: Half, among: Int64[np.ndarray, " m"], clicks: int) -> bytes:
    """Which of Bob's clicks she has a record of, her setting there, and its intensity if there are several."""
    known = np.zeros(clicks, np.uint8)
    known[among] = 1
    levels = b"\x00" if alice.intensity is None else b"\x01" + _write_pairs(alice.intensity)
    return np.packbits(known).tobytes() + _write_pairs(alice.basis) + levels


def _read_bases(
    body: bytes, clicks: int
) -> tuple[Bool[np.ndarray, " c"], UInt8[np.ndarray, " m"], UInt8[np.ndarray, " m"] | None]:
    reader = Reader(body)
    known = np.unpackbits(reader.numbers("|u1", -(-clicks // 8)), count=clicks).astype(bool)
    count = int(known.sum())
    basis = _read_pairs(reader, count)
    flag = int(reader.number("|u1"))
    if flag > 1:
        raise PayloadError(f"a flag of {flag} for intensities", "0 or 1")
    intensity = _read_pairs(reader, count) if flag else None
    reader.end()
    return known, basis, intensity


def _write_pairs(values: UInt8[np.ndarray, " m"]) -> bytes:
    """Two bits each, as two planes."""
    if len(values) and values.max() >= _SETTINGS:
        raise ConfigError(f"a setting or an intensity of {values.max()}", f"0 to {_SETTINGS - 1}")
    return np.packbits(values & 1).tobytes() + np.packbits(values >> 1).tobytes()


def _read_pairs(reader: Reader, count: int) -> UInt8[np.ndarray, " m"]:
    size = -(-count // 8)
    low, high = (np.unpackbits(reader.numbers("|u1", size), count=count) for _ in range(2))
    values: UInt8[np.ndarray, " m"] = low | high << 1
    return values
