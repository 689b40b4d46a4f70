"""BB84: four states in two bases, as single photons or weak coherent pulses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from qfedfm.qkd.eavesdroppers import Eavesdropper
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.exchange import Exchange
from qfedfm.qkd.link import Link
from qfedfm.qkd.pulses import FOUR_STATES, Source
from qfedfm.qkd.transmit import transmit


@dataclass(frozen=True)
class BB84:
    """Bits in Z (|0⟩, |1⟩) or X (|+⟩, |−⟩), kept where both parties chose the same basis.

    Args:
        p_z: probability with which each party chooses Z; p_z² + (1 − p_z)² of the clicks are kept.
        mean_photons: μ of weak coherent pulses of random phase; None for exactly one photon a pulse.

    Raises:
        ConfigError: p_z is not between 0 and 1, both excluded, or μ is not between 0 and 10.

    Source: Bennett & Brassard, Proc. IEEE Conf. on Computers, Systems and Signal Processing, 175 (1984); bases of
    unequal probability: Lo, Chau & Ardehali, arXiv quant-ph/0011056.

    Differs from the paper: clicks of both detectors are kept, with a coin of Bob's as the bit, as the proofs ask.

    Example:
        >>> from qfedfm.qkd.eavesdroppers import Nobody
        >>> from qfedfm.qkd.entropy import System
        >>> exchange = BB84().exchange(100, Link(), Nobody(), System())
        >>> same = exchange.alice.basis == exchange.bob.basis
        >>> bool((exchange.alice.bit == exchange.bob.bit)[same].all())
        True
    """

    p_z: float = 0.5
    mean_photons: float | None = None

    def __post_init__(self) -> None:
        _ = self.source  # refuses what is no source

    @property
    def source(self) -> Source:
        """What Alice sends."""
        means = () if self.mean_photons is None else (self.mean_photons,)
        return Source(FOUR_STATES, (self.p_z, 1 - self.p_z), means)

    def exchange(self, pulses: int, link: Link, eavesdropper: Eavesdropper, entropy: Entropy) -> Exchange:
        """The quantum phase; see `transmit`, which it raises from as well."""
        return transmit(pulses, self.source, (self.p_z, 1 - self.p_z), matching, link, eavesdropper, entropy)


def matching(
    alice_basis: UInt8[np.ndarray, " m"], bit: UInt8[np.ndarray, " m"], basis: UInt8[np.ndarray, " m"]
) -> tuple[Bool[np.ndarray, " m"], UInt8[np.ndarray, " m"]]:
    """Keeps clicks in Alice's basis; the bit is what Bob measured."""
    return alice_basis == basis, bit
