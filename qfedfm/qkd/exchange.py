"""What two parties hold after the quantum phase, before they have said a word to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64, UInt8


@dataclass(frozen=True)
class Half:
    """One party's record: what it prepared, or what its detectors said.

    Args:
        pulse: numbers of the pulses that it has a record of, ascending.
        bit: prepared or measured.
        basis: in the order of the protocol: 0 for the key basis Z, 1 for X (E91: the number of the angle).
        intensity: number of the intensity that was sent, 0 for the signal; None where there is only one or the party
            does not know.
    """

    pulse: Int64[np.ndarray, " m"] = field(repr=False)
    bit: UInt8[np.ndarray, " m"] = field(repr=False)
    basis: UInt8[np.ndarray, " m"] = field(repr=False)
    intensity: UInt8[np.ndarray, " m"] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.pulse)


@dataclass(frozen=True)
class Exchange:
    """A quantum phase whose number of pulses was fixed before it began.

    Args:
        pulses: sent, or pairs emitted.
        alice: her half; one record a pulse where she prepares.
        bob: his half; one record a click.
        truth: what only the simulation knows, such as the share of bits that the eavesdropper has; no party reads it.
    """

    pulses: int
    alice: Half
    bob: Half
    truth: Mapping[str, float] = field(default_factory=dict)
