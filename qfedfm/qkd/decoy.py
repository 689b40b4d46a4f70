"""Decoy-state BB84: weak coherent pulses of three intensities."""

from __future__ import annotations

from dataclasses import dataclass

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.bb84 import matching
from qfedfm.qkd.eavesdroppers import Eavesdropper
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.exchange import Exchange
from qfedfm.qkd.link import Link
from qfedfm.qkd.pulses import FOUR_STATES, Source
from qfedfm.qkd.transmit import transmit


@dataclass(frozen=True)
class DecoyBB84:
    """BB84 whose pulses have one of three intensities, chosen at random and announced afterwards.

    Clicks and errors by intensity are those of the pulses with that number in ``alice.intensity``. Without an
    eavesdropper and dead time they are `Link.gain` and `Link.error_rate`, and a pulse of n photons clicks with
    Y_n = 1 − (1 − Y₀)(1 − η)ⁿ.

    Args:
        intensities: μ₁, μ₂, μ₃, mean photon numbers of the signal and of two decoys; μ₁ > μ₂ + μ₃ and μ₂ > μ₃ ≥ 0.
        probabilities: of the intensities.
        p_z: probability with which each party chooses Z, whatever the intensity.

    Raises:
        ConfigError: the intensities are not in this order or beyond 10, or a probability is out of range.

    Source: Lim, Curty, Walenta, Xu & Zbinden, arXiv 1311.7129, Sec. II (their key basis is called X).

    Differs from the paper: the number of pulses is fixed beforehand; it does not depend on the clicks so far.
    """

    intensities: tuple[float, float, float] = (0.5, 0.1, 0.0)
    probabilities: tuple[float, float, float] = (0.7, 0.15, 0.15)
    p_z: float = 0.5

    def __post_init__(self) -> None:
        signal, decoy, weakest = self.intensities
        if not (signal > decoy + weakest and decoy > weakest >= 0):
            raise ConfigError(f"intensities {self.intensities}", "μ₁ > μ₂ + μ₃ and μ₂ > μ₃ ≥ 0")
        _ = self.source  # refuses what is no source

    @property
    def source(self) -> Source:
        """What Alice sends."""
        return Source(FOUR_STATES, (self.p_z, 1 - self.p_z), self.intensities, self.probabilities)

    def exchange(self, pulses: int, link: Link, eavesdropper: Eavesdropper, entropy: Entropy) -> Exchange:
        """The quantum phase; see `transmit`, which it raises from as well."""
        return transmit(pulses, self.source, (self.p_z, 1 - self.p_z), matching, link, eavesdropper, entropy)
