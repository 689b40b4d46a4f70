"""Reconciliation by LDPC codes: Alice tells syndromes, and more of them where Bob does not find his errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.qkd.channel import ALICE, BOB, Channel, pack_bits, unpack_bits
from qfedfm.qkd.entropies import binary_entropy
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.ldpc_codes import COLUMNS, ROWS, Code, grown
from qfedfm.qkd.ldpc_decoder import Decoder
from qfedfm.qkd.reconciliation import Reconciled

SEED_BYTES = 16
TAG_BITS = 32
"""Of every frame; a wrong frame with Alice's syndrome has her tag with probability 2^−32."""


class Party:
    """One of the two: its own bits, and what both know.

    Args:
        bits: its string.
        seed: of the order of bits and of the tags, the same for both.
        code: of all frames.
        length: bits of a frame but for the last, which may have fewer; zeros that both know lie evenly between them, so
            that the code is shortened without a change of its degrees, and fill the last.
    """

    def __init__(self, bits: UInt8[np.ndarray, " n"], seed: bytes, code: Code, length: int) -> None:
        generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))
        self._order = generator.permutation(len(bits))
        self._code, self._length, self._splits = code, length, 0
        padded = np.concatenate((bits[self._order], np.zeros(-len(bits) % length, np.uint8)))
        self._places = np.arange(length) * code.bits // length
        self._frames = np.zeros((len(padded) // length, code.bits), np.uint8)
        self._frames[:, self._places] = padded.reshape(-1, length)
        self._hash = generator.integers(0, 1 << TAG_BITS, code.bits, np.uint32)
        self.undecoded: Int64[np.ndarray, " live"] = np.arange(len(self._frames))

    @property
    def more(self) -> int:
        """How many rows are split next: one, and more as the string turns out worse; 0 at the end."""
        if not len(self.undecoded):
            return 0
        return min(1 + self._splits // 4, self._code.rows - self._splits)

    def tag(self, frame: UInt8[np.ndarray, " n"]) -> UInt8[np.ndarray, " tag"]:
        """Product of the frame with a random matrix that is drawn after the errors were made."""
        packed = np.bitwise_xor.reduce(self._hash[frame == 1], initial=np.uint32(0))
        return np.unpackbits(np.array([packed], ">u4").view(np.uint8))

    def bits(self) -> UInt8[np.ndarray, " m"]:
        """Its string as it is now, without the frames that stay undecoded."""
        n = len(self._order)
        kept, found = np.ones(len(self._frames), bool), np.empty(n, np.uint8)
        kept[self.undecoded] = False
        found[self._order] = self._frames[:, self._places].ravel()[:n]
        mask = np.empty(n, bool)
        mask[self._order] = np.repeat(kept, self._length)[:n]
        left: np.ndarray = found[mask]
        return left


class Sender(Party):
    """Alice's half."""

    def open(self) -> UInt8[np.ndarray, " m"]:
        """Syndromes of all frames."""
        self._halves = np.stack([self._code.halves(frame) for frame in self._frames])
        whole: np.ndarray = self._halves[:, ::2] ^ self._halves[:, 1::2]
        return whole.ravel()

    def tags(self) -> UInt8[np.ndarray, " m"]:
        """Of all frames."""
        return np.concatenate([self.tag(frame) for frame in self._frames])

    def hear(self, outcome: UInt8[np.ndarray, " live"]) -> None:
        """Learns which of the frames in question stay undecoded (1)."""
        self.undecoded = self.undecoded[outcome == 1]

    def tell(self) -> UInt8[np.ndarray, " m"]:
        """First halves of the rows that are split next, frame by frame."""
        first, self._splits = self._splits, self._splits + self.more
        told: np.ndarray = self._halves[self.undecoded, 2 * first : 2 * self._splits : 2]
        return told.ravel()


class Receiver(Party):
    """Bob's half; his frames become Alice's where decoding succeeds.

    Args:
        bits: his string.
        seed: of the order of bits, the same for both.
        code: of all frames.
        length: bits of a frame.
        qber: to begin with.
        iterations: of the decoder, for a try.
    """

    def __init__(
        self, bits: UInt8[np.ndarray, " n"], seed: bytes, code: Code, length: int, qber: float, iterations: int
    ) -> None:
        super().__init__(bits, seed, code, length)
        self._qber, self._iterations = qber, iterations
        self._decoders: dict[int, Decoder] = {}

    def open(self, syndromes: UInt8[np.ndarray, " m"], tags: UInt8[np.ndarray, " k"]) -> UInt8[np.ndarray, " live"]:
        """Hears the syndromes and tags of all frames; 1 for those that stay undecoded."""
        self._tags = tags.reshape(len(self._frames), TAG_BITS)
        told = syndromes.reshape(len(self._frames), self._code.rows, self._code.lifting)
        for number, (frame, those) in enumerate(zip(self._frames, told, strict=True)):
            known = np.ones(self._code.bits, bool)
            known[self._places[: len(self._order) - number * self._length]] = False
            self._try(number, Decoder(self._code, self._qber, known, those ^ self._code.syndromes(frame)))
        return self._outcome()

    def hear(self, halves: UInt8[np.ndarray, " m"]) -> UInt8[np.ndarray, " live"]:
        """Hears the first halves of the rows that are split next; 1 for frames that stay undecoded."""
        first, self._splits = self._splits, self._splits + self.more
        told = halves.reshape(len(self.undecoded), -1, self._code.lifting)
        for number, those in zip(self.undecoded.tolist(), told, strict=True):
            decoder = self._decoders.pop(number)
            decoder.split(those ^ self._code.halves(self._frames[number])[2 * first : 2 * self._splits : 2])
            self._try(number, decoder)
        return self._outcome()

    def _try(self, number: int, decoder: Decoder) -> None:
        if decoder.run(self._iterations):
            corrected = self._frames[number] ^ decoder.errors
            if (self.tag(corrected) == self._tags[number]).all():
                self._frames[number] = corrected
                return
        self._decoders[number] = decoder

    def _outcome(self) -> UInt8[np.ndarray, " live"]:
        before, self.undecoded = self.undecoded, np.array(sorted(self._decoders), np.int64)
        return np.isin(before, self.undecoded).astype(np.uint8)


@dataclass(frozen=True)
class LDPC:
    """Rate-adaptive LDPC codes; Bob asks for more of the syndrome, frame by frame, until his decoder succeeds.

    Of a frame of k bits Alice first tells efficiency·k·h(q) + deviations·√(kV) parities, rounded up to a multiple of Z,
    where V = q(1 − q) log2²((1 − q)/q) is the variance of what an error pattern takes, a bit. Where that does not
    suffice, rows of the code are split: of each she tells the parity of one half of its bits, which makes that of the
    other half known, so that every bit told is one check more and nothing has to be punctured or made up. A public
    random order spreads errors that come in bursts, and keeps an eavesdropper from placing them. With n bits and the
    binary entropy h the efficiency is f = disclosed / (n h(q)).

    Bob's answers, a bit for each frame in question, follow from Alice's syndromes and the error pattern; they are
    counted as ``asked``. A frame is decoded when it has Alice's syndrome and her tag, which is a universal hash; those
    that stay undecoded with every row split are dropped on both sides.

    The first call in a process compiles the inner loops, and the first with a new size or QBER grows a code; both take
    seconds. Strings much shorter than a frame disclose more than Cascade does.

    Source: rate adaptation by checks that are split, Varodayan, Aaron, Girod, Signal Processing 86, 3123 (2006); blind
    reconciliation, Martinez-Mateo, Elkouss, Martin, QIC 12, 791 (2012), arXiv 1205.5729.

    Args:
        frame: at least as many bits are decoded together, if there are as many.
        efficiency: f of the first try, in long frames.
        deviations: standard deviations of what a frame takes that the first try leaves room for.
        iterations: of the decoder, for a try.

    Raises:
        ConfigError: a frame or a number of iterations below 1, an efficiency that is not positive, or fewer deviations
            than none.

    Differs from the paper: what is told after a failure are more checks; blind reconciliation tells punctured bits.

    Example:
        >>> from qfedfm.core.key import Key
        >>> from qfedfm.qkd.entropy import Seeded
        >>> entropy = Seeded(Key.of(1))
        >>> alice = entropy.bits(2000)
        >>> bob = alice ^ (np.arange(2000) % 50 == 7)
        >>> done = LDPC().reconcile(alice, bob, 0.02, Channel(), entropy)
        >>> bool((done.bob == alice).all()), done.frames, done.failed
        (True, 1, 0)
    """

    frame: int = 65_536
    efficiency: float = 1.05
    deviations: float = 1.5
    iterations: int = 50

    def __post_init__(self) -> None:
        if self.frame < 1 or self.iterations < 1:
            raise ConfigError(f"frames of {self.frame} bits, {self.iterations} iterations", "at least 1")
        if not (0 < self.efficiency < math.inf and 0 <= self.deviations < math.inf):
            raise ConfigError(
                f"efficiency {self.efficiency} and {self.deviations} deviations", "a positive number and one from 0"
            )

    def reconcile(
        self,
        alice_bits: UInt8[np.ndarray, " n"],
        bob_bits: UInt8[np.ndarray, " n"],
        qber: float,
        channel: Channel,
        entropy: Entropy,
    ) -> Reconciled:
        """Corrects Bob's bits to Alice's.

        Args:
            alice_bits: 0 or 1.
            bob_bits: as many.
            qber: estimated; a wrong one costs efficiency.
            channel: where all messages go.
            entropy: of Alice, for the seed of the order, which is public.

        Raises:
            ConfigError: strings of different lengths, not of bits, or a QBER outside 0 to 1/2.
            PayloadError: somebody altered the length of what was said.
        """
        n = len(alice_bits)
        if len(bob_bits) != n or max(alice_bits.max(initial=0), bob_bits.max(initial=0)) > 1:
            raise ConfigError(f"{n} and {len(bob_bits)} values", "as many bits, 0 or 1, on either side")
        if not 0 <= qber <= 0.5:
            raise ConfigError(f"a QBER of {qber}", "0 to 1/2")
        if n == 0:
            return Reconciled(alice_bits, bob_bits, 0, 0, 0, 0)
        before = len(channel.transcript)
        seed = entropy.bytes(SEED_BYTES)
        arrived = channel.send(ALICE, "ldpc order", seed)
        if len(arrived) != SEED_BYTES:
            raise PayloadError(f"a seed of {len(arrived)} bytes", f"{SEED_BYTES}", "authenticate the channel")
        frames = max(1, n // self.frame)
        length = -(-n // frames)
        chosen = self.code(length, qber)
        alice = Sender(alice_bits, seed, chosen, length)
        bob = Receiver(bob_bits, arrived, chosen, length, _within(qber), self.iterations)
        converse(alice, bob, channel, chosen)
        said = channel.transcript[before:]
        disclosed, asked = (sum(message.leaked for message in said if message.sender == who) for who in (ALICE, BOB))
        return Reconciled(alice.bits(), bob.bits(), disclosed, asked, frames, len(alice.undecoded))

    def code(self, length: int, qber: float) -> Code:
        """The one for frames of this length; Z is one of 16 sizes an octave, so that few codes serve all lengths.

        Args:
            length: bits of a frame, at least 1.
            qber: estimated.
        """
        least = -(-length // COLUMNS)
        step = 1 << max(0, least.bit_length() - 5)
        lifting = -(-least // step) * step
        q = _within(qber)
        deviation = math.sqrt(length * q * (1 - q)) * math.log2((1 - q) / q)
        rows = math.ceil((self.efficiency * length * binary_entropy(q) + self.deviations * deviation) / lifting)
        return grown(min(max(rows, ROWS[0]), ROWS[-1]), lifting)


def _within(qber: float) -> float:
    """What decoders take it for: certainty of no error, or of nothing, would make them deaf to the syndrome."""
    return min(max(qber, 1e-4), 0.49)


def converse(alice: Sender, bob: Receiver, channel: Channel, code: Code) -> None:
    """Carries what either says to the other; every bit of it is about the key."""

    def said(sender: str, kind: str, bits: np.ndarray, expected: int) -> np.ndarray:
        body = channel.send(sender, f"ldpc {kind}", pack_bits(bits), leaked=len(bits))
        return unpack_bits(body, expected)

    frames = len(bob.undecoded)
    syndromes = said(ALICE, "syndromes", alice.open(), frames * code.rows * code.lifting)
    outcome = bob.open(syndromes, said(ALICE, "tags", alice.tags(), frames * TAG_BITS))
    while True:
        alice.hear(said(BOB, "undecoded", outcome, len(alice.undecoded)))
        if not alice.more:
            return
        expected = len(bob.undecoded) * bob.more * code.lifting
        outcome = bob.hear(said(ALICE, "halves", alice.tell(), expected))
