"""A quantum phase and a reconciliation that are as simple as can be, for tests of what stands between."""

import math
from dataclasses import dataclass

import numpy as np

from qfedfm.qkd.channel import ALICE, BOB, Channel, pack_bits
from qfedfm.qkd.entropies import binary_entropy
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.exchange import Exchange, Half


@dataclass(frozen=True)
class Photons:
    """Single photons in Z (with probability 3/4) or X, some lost, some wrong."""

    qber: float = 0.01
    detected: float = 0.5
    background: float = 0.001
    intensities: tuple[float, ...] | None = None

    def exchange(self, pulses: int, link: object, eavesdropper: object, entropy: Entropy) -> Exchange:
        physics = entropy.generator()
        bit, level = entropy.bits(pulses), None
        alice_basis, bob_basis = ((physics.integers(4, size=pulses) == 0).astype(np.uint8) for _ in range(2))
        detected = np.full(pulses, self.detected)
        if self.intensities is not None:
            level = physics.choice(3, pulses, p=(0.6, 0.2, 0.2)).astype(np.uint8)
            detected = 1 - (1 - self.background) * np.exp(-self.detected * np.array(self.intensities)[level])
        clicks = np.flatnonzero(physics.random(pulses) < detected)
        wrong = (physics.random(pulses) < self.qber).astype(np.uint8)
        found = np.where(alice_basis == bob_basis, bit ^ wrong, entropy.bits(pulses)).astype(np.uint8)
        alice = Half(np.arange(pulses), bit, alice_basis, level)
        return Exchange(pulses, alice, Half(clicks, found[clicks], bob_basis[clicks]))


@dataclass(frozen=True)
class Strings:
    alice: np.ndarray
    bob: np.ndarray


@dataclass(frozen=True)
class Genie:
    """Tells as many bits as a reconciliation of that efficiency would, and corrects by magic."""

    efficiency: float = 1.1
    left: int = 0
    dropped: int = 0

    def reconcile(
        self, alice_bits: np.ndarray, bob_bits: np.ndarray, qber: float, channel: Channel, entropy: Entropy
    ) -> Strings:
        told = math.ceil(self.efficiency * len(alice_bits) * binary_entropy(qber))
        channel.send(ALICE, "parities", pack_bits(entropy.bits(told)), leaked=told)
        channel.send(BOB, "parities of mine", pack_bits(entropy.bits(10)), leaked=10)
        corrected = alice_bits.copy()
        corrected[: self.left] ^= 1
        kept = slice(0, len(alice_bits) - self.dropped)
        return Strings(alice_bits[kept], corrected[kept])
