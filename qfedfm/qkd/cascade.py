"""Reconciliation by Cascade: two parties compare parities until their strings agree.

Both say the parity of every block that is asked for, so both know where the two strings' parities differ, and what is
asked next follows from that alone (`Search`): a question costs one bit in either direction and nothing else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from qfedfm.core.errors import ConfigError, PayloadError, nearest
from qfedfm.qkd.cascade_search import KERNELS, Search
from qfedfm.qkd.channel import ALICE, BOB, Channel, pack_bits, unpack_bits
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.extra import qkd
from qfedfm.qkd.reconciliation import Reconciled

SEED_BYTES = 16


@dataclass(frozen=True)
class Variant:
    """k_1 = ⌈first/q⌉, k_i = multiples[i−2]·k_1, then ``halvings`` passes of two blocks.

    Args:
        first: bits of a block of the first pass, times the QBER.
        multiples: sizes of the next passes' blocks in blocks of the first.
        halvings: passes over the two halves of a random order.
        reuse: whether parts of blocks whose parity became known count as blocks; the passes over halves then begin
            all at once.
        share: from the second pass on, one in how many blocks is searched at the same time.
    """

    first: float
    multiples: tuple[int, ...]
    halvings: int
    reuse: bool
    share: int

    def sizes(self, n: int, qber: float) -> tuple[int, ...]:
        """Bits of a block, by pass; at most half a frame from the second on.

        Args:
            n: bits of a frame.
            qber: estimated, from 0 to 1/2.
        """
        first = min(n, math.ceil(self.first / qber)) if qber > self.first / n else n
        half = -(-n // 2)
        return (first, *(min(first * multiple, half) for multiple in self.multiples), *[half] * self.halvings)


VARIANTS: Mapping[str, Variant] = {
    "original": Variant(0.73, (2, 4, 8), 0, reuse=False, share=1),
    "yan": Variant(0.80, (5,), 8, reuse=False, share=1),
    "reuse": Variant(0.75, (4, 128), 11, reuse=True, share=4),
}
"""By name: Brassard and Salvail, EUROCRYPT '93 (1994); Yan et al., ICNC 2008; and parts of blocks used again after
Martinez-Mateo et al., QIC 15, 453 (2015), arXiv 1407.3257, with sizes of our own. The first two search all odd blocks
of a pass at once; that the programs behind the published figures do so is our reading of those figures."""


class Party:
    """One of the two: its own bits, and what both have said.

    Args:
        bits: its frames, one a row.
        sizes: of the blocks, by pass.
        variant: how to search.
        seed: of the orders, the same for both.
        corrects: whether its bits are the ones that give way.
    """

    def __init__(
        self, bits: UInt8[np.ndarray, "frames n"], sizes: tuple[int, ...], variant: Variant, seed: bytes, corrects: bool
    ) -> None:
        kernels = qkd(KERNELS)
        frames, n = bits.shape
        self._search = Search(frames, n, sizes, seed, reuse=variant.reuse, share=variant.share)
        self._frames, self._corrects = frames, corrects
        self._words = kernels.sliced(bits)
        self._running = np.empty((len(sizes), len(self._words), n + 1), np.uint64)
        self._ready = 0
        self._said: np.ndarray | None = None

    def open(self) -> UInt8[np.ndarray, " m"]:
        """The first message: the parities of the first pass's blocks."""
        self._said = self._parities()
        return self._said

    def hear(self, bits: UInt8[np.ndarray, " m"]) -> UInt8[np.ndarray, " k"] | None:
        """Takes the other's answers to the questions that this party answered, then to the next ones; gives likewise.

        Returns:
            Own answers to the latter, then to those that follow; None when nothing is left to say.

        Raises:
            PayloadError: more or fewer bits than there are questions, or answers that contradict each other.
        """
        if self._said is not None:
            bits = self._learn(self._said, bits)
            self._said = None
        if self._search.finished():
            if len(bits):
                raise PayloadError(f"{len(bits)} parities that nobody asked for", "none", "authenticate the channel")
            return None
        answered = self._parities()
        if len(self._learn(answered, bits)):
            raise PayloadError(f"{len(bits)} parities", f"{len(answered)}", "authenticate the channel")
        if self._search.finished():
            return answered
        self._said = self._parities()
        reply: np.ndarray = np.concatenate((answered, self._said))
        return reply

    def frames(self) -> UInt8[np.ndarray, "frames n"]:
        """Its bits as they are now."""
        kernels = qkd(KERNELS)
        found: np.ndarray = kernels.unsliced(self._current(), self._frames)
        return found

    def _current(self) -> np.ndarray:
        current: np.ndarray = self._words ^ self._search.wrong if self._corrects else self._words
        return current

    def _learn(self, own: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """Compares, and gives what is left of theirs."""
        if len(theirs) < len(own):
            raise PayloadError(f"{len(theirs)} parities", f"at least {len(own)}", "authenticate the channel")
        self._search.learn(own ^ theirs[: len(own)])
        return theirs[len(own) :]

    def _parities(self) -> np.ndarray:
        """Own answers to the present questions; running parities of the passes that just began come first."""
        kernels = qkd(KERNELS)
        asked = self._search.questions
        if self._ready < self._search.opened:
            words = self._current()
            for step in range(self._ready, self._search.opened):
                kernels.accumulate(words, self._search.order[step], self._running[step])
            self._ready = self._search.opened
        found: np.ndarray = kernels.parities(self._running, asked.frame, asked.step, asked.start, asked.stop)
        return found


@dataclass(frozen=True)
class Cascade:
    """Cascade over many frames side by side, one message a round for all of them.

    A party's message answers the questions that the other has just answered, and those that follow from that, so that
    a round costs one message. Every question is a bit from either side. With n bits and a binary entropy h the
    efficiency is f = disclosed / (n h(q)); parities that follow from others are not asked for.

    Bob's parities follow from Alice's and the error pattern. A key length that subtracts ``disclosed`` only has to give
    the pattern to the eavesdropper (Tupkary and Lütkenhaus, arXiv 2307.00576); otherwise it subtracts ``disclosed +
    asked``.

    The first call in a process compiles the inner loops, which takes some seconds; nothing is written to disk.

    Args:
        variant: ``original`` (Brassard and Salvail), ``yan`` (Yan et al.), or ``reuse``, the one that discloses least.
        frame: about as many bits are corrected together; a string is cut into equal frames, shorter ones padded with
            zeros that both know.
        batch: about as many bits share the messages; memory is 14 bytes for each.

    Raises:
        ConfigError: an unknown variant, or a size below 1.

    Differs from the paper: many odd blocks are searched at the same time (`Variant.share`), of one pass at a time and
    the first pass that has any; one order a pass is shared by all frames; the last block's parity is not asked for
    after the first pass; a parity is never asked for twice.

    Example:
        >>> from qfedfm.core.key import Key
        >>> from qfedfm.qkd.entropy import Seeded
        >>> entropy = Seeded(Key.of(1))
        >>> alice = entropy.bits(2000)
        >>> bob = alice ^ (np.arange(2000) % 50 == 7)
        >>> done = Cascade("reuse").reconcile(alice, bob, 0.02, Channel(), entropy)
        >>> bool((done.bob == alice).all()), done.frames
        (True, 1)
    """

    variant: str = "reuse"
    frame: int = 100_000
    batch: int = 1 << 23

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ConfigError(f"variant {self.variant!r} of Cascade", "a known one", nearest(self.variant, VARIANTS))
        if self.frame < 1 or self.batch < 1:
            raise ConfigError(f"frames of {self.frame} bits, {self.batch} bits a batch", "at least 1")

    def reconcile(
        self,
        alice_bits: UInt8[np.ndarray, " n"],
        bob_bits: UInt8[np.ndarray, " m"],
        qber: float,
        channel: Channel,
        entropy: Entropy,
    ) -> Reconciled:
        """Corrects Bob's bits to Alice's.

        Args:
            alice_bits: 0 or 1.
            bob_bits: as many.
            qber: estimated; a wrong one costs efficiency, a far too low one leaves errors.
            channel: where all messages go.
            entropy: of Alice, for the seeds of the orders, which are public.

        Raises:
            ConfigError: strings of different lengths, not of bits, or a QBER outside 0 to 1/2.
            PayloadError: somebody altered what was said.
        """
        n = len(alice_bits)
        if len(bob_bits) != n or max(alice_bits.max(initial=0), bob_bits.max(initial=0)) > 1:
            raise ConfigError(f"{n} and {len(bob_bits)} values", "as many bits, 0 or 1, on either side")
        if not 0 <= qber <= 0.5:
            raise ConfigError(f"a QBER of {qber}", "0 to 1/2")
        length = max(1, math.ceil(n / max(1, round(n / self.frame))))
        frames, together = -(-n // length), max(1, self.batch // length)
        before, corrected = len(channel.transcript), [bob_bits[:0]]
        for first in range(0, frames, together):
            part = slice(first * length, (first + together) * length)
            alice, bob = _framed(alice_bits[part], length), _framed(bob_bits[part], length)
            corrected.append(self._batch(alice, bob, qber, channel, entropy).ravel())
        said = channel.transcript[before:]
        disclosed, asked = (sum(message.leaked for message in said if message.sender == who) for who in (ALICE, BOB))
        return Reconciled(alice_bits, np.concatenate(corrected)[:n], disclosed, asked, frames, 0)

    def _batch(self, alice: np.ndarray, bob: np.ndarray, qber: float, channel: Channel, entropy: Entropy) -> np.ndarray:
        """Bob's frames, corrected."""
        variant = VARIANTS[self.variant]
        sizes = variant.sizes(alice.shape[1], qber)
        seed = entropy.bytes(SEED_BYTES)
        arrived = channel.send(ALICE, "cascade orders", seed)
        if len(arrived) != SEED_BYTES:
            raise PayloadError(f"a seed of {len(arrived)} bytes", f"{SEED_BYTES}", "authenticate the channel")
        corrected = Party(bob, sizes, variant, arrived, corrects=True)
        converse(Party(alice, sizes, variant, seed, corrects=False), corrected, channel)
        return corrected.frames()


def converse(alice: Party, bob: Party, channel: Channel) -> None:
    """Carries what either says to the other until neither has more to say; every bit of it is about the key."""
    turns = itertools.cycle(((ALICE, bob), (BOB, alice)))
    bits: np.ndarray | None = alice.open()
    while bits is not None:
        sender, listener = next(turns)
        body = channel.send(sender, "cascade parities", pack_bits(bits), leaked=len(bits))
        bits = listener.hear(unpack_bits(body))


def _framed(bits: UInt8[np.ndarray, " n"], length: int) -> UInt8[np.ndarray, "frames length"]:
    """The bits in rows; zeros fill the last one."""
    rows: np.ndarray = np.concatenate((bits, np.zeros(-len(bits) % length, np.uint8))).reshape(-1, length)
    return rows
