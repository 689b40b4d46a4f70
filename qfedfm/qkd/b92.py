"""B92: two states that are not orthogonal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from qfedfm.qkd.eavesdroppers import Eavesdropper
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.exchange import Exchange
from qfedfm.qkd.link import Link
from qfedfm.qkd.pulses import Source
from qfedfm.qkd.transmit import transmit


@dataclass(frozen=True)
class B92:
    """Bit 0 as |0⟩ and bit 1 as |+⟩, single photons; Bob measures in Z or X and keeps outcome 1, which excludes one.

    Outcome 1 in Z cannot come from |0⟩, so the bit is 1; outcome 1 in X (|−⟩) cannot come from |+⟩, so it is 0
    (`conclusive`). Without noise that is 1/4 of the detections. ``alice.basis`` is all 0, as she has none to announce;
    ``bob.bit`` and ``bob.basis`` are what he measured. Once the fibre loses .707 of the light no key can be made: see
    `UnambiguousDiscrimination`.

    Source: Bennett, PRL 68, 3121 (1992), with single photons in place of his interferometer and bright reference pulse.

    Example:
        >>> from qfedfm.qkd.eavesdroppers import Nobody
        >>> from qfedfm.qkd.entropy import System
        >>> exchange = B92().exchange(100, Link(), Nobody(), System())
        >>> kept, bit = conclusive(exchange.bob.bit, exchange.bob.basis)
        >>> bool((exchange.alice.bit == bit)[kept].all())
        True
    """

    @property
    def source(self) -> Source:
        """What Alice sends."""
        return Source(states=((0, 2),), bases=(1.0,))

    def exchange(self, pulses: int, link: Link, eavesdropper: Eavesdropper, entropy: Entropy) -> Exchange:
        """The quantum phase; see `transmit`, which it raises from as well."""

        def sift(_: np.ndarray, bit: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return conclusive(bit, basis)

        return transmit(pulses, self.source, (0.5, 0.5), sift, link, eavesdropper, entropy)


def conclusive(
    bit: UInt8[np.ndarray, " m"], basis: UInt8[np.ndarray, " m"]
) -> tuple[Bool[np.ndarray, " m"], UInt8[np.ndarray, " m"]]:
    """Keeps outcome 1; the bit is 1 where it came in Z and 0 where it came in X."""
    return bit == 1, 1 - basis
