"""A link: the fibre between the parties and the receiver at its end, and what its numbers lead one to expect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from qfedfm.core.errors import ConfigError, nearest

_BELOW = {"dark_counts": 1.0, "misalignment": 0.5}
"""At these a click says nothing."""


@dataclass(frozen=True)
class Link:
    """A fibre and a receiver with two threshold detectors, one for each outcome.

    A photon that enters the fibre is detected with probability η = 10^(−(αL + receiver loss)/10) · efficiency, each
    photon of a pulse by itself; it takes the wrong detector with probability e_d. Both detectors are off for the
    ``dead_time`` pulses that follow a click of either, so that the choice of one detector never depends on the last
    click; clicks that would fall into the dead time do not prolong it.

    Args:
        distance: L, length of the fibre in km.
        attenuation: α, dB/km.
        efficiency: of a detector.
        dark_counts: p_d, probability that a detector clicks without a photon, per pulse and detector.
        misalignment: e_d, below ½.
        dead_time: in pulses.
        receiver_loss: of the receiver's optics, dB.

    Raises:
        ConfigError: a number is not finite or out of its range.

    Example:
        >>> round(Link(distance=50.0, efficiency=0.2).transmittance, 6)
        0.02
    """

    distance: float = 0.0
    attenuation: float = 0.2
    efficiency: float = 1.0
    dark_counts: float = 0.0
    misalignment: float = 0.0
    dead_time: int = 0
    receiver_loss: float = 0.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value, below = getattr(self, name), _BELOW.get(name, math.inf)
            if not 0 <= value < below:
                expected = f"at least 0 and below {below:g}" if below < math.inf else "a finite number of at least 0"
                raise ConfigError(f"link with {name} {value}", expected)
        if not 0 < self.efficiency <= 1:
            raise ConfigError(f"link with efficiency {self.efficiency}", "above 0 and at most 1")
        if self.dead_time != int(self.dead_time):
            raise ConfigError(f"link with dead_time {self.dead_time}", "a whole number of pulses")

    @property
    def channel_transmittance(self) -> float:
        """10^(−αL/10): of the fibre alone, which is the eavesdropper's to replace."""
        return float(10 ** (-self.attenuation * self.distance / 10))

    @property
    def receiver_transmittance(self) -> float:
        """From the end of the fibre to the click, which the eavesdropper cannot change."""
        return float(10 ** (-self.receiver_loss / 10)) * self.efficiency

    @property
    def transmittance(self) -> float:
        """η, from the beginning of the fibre to the click."""
        return self.channel_transmittance * self.receiver_transmittance

    @property
    def background(self) -> float:
        """Y₀ = 1 − (1 − p_d)², probability of a click without any photon, per pulse."""
        return 1 - (1 - self.dark_counts) ** 2

    def gain(self, mean_photons: float) -> float:
        """Q_μ = 1 − (1 − Y₀) e^{−ημ}, clicks per pulse of Poissonian photon number before dead time.

        Ma, Qi, Zhao & Lo, arXiv quant-ph/0503005, Sec. II, who write Y₀ + 1 − e^{−ημ}.
        """
        return 1 - (1 - self.background) * math.exp(-self.transmittance * mean_photons)

    def error_rate(self, mean_photons: float) -> float:
        """E_μ = (w − wr/2) / Q_μ, the errors among clicks in the same basis, where a double click is a fair coin.

        w = 1 − (1 − p_d) e^{−ημ e_d} and r = 1 − (1 − p_d) e^{−ημ(1 − e_d)} are the probabilities that the wrong and
        the right detector click. To first order E_μ Q_μ = Y₀/2 + e_d (1 − e^{−ημ}) (Ma et al., Sec. II).

        Raises:
            ConfigError: nothing ever clicks.
        """
        gain, detected = self.gain(mean_photons), self.transmittance * mean_photons
        if gain == 0:
            raise ConfigError("the error rate of clicks that never come", "photons or dark counts")
        wrong = 1 - (1 - self.dark_counts) * math.exp(-detected * self.misalignment)
        right = 1 - (1 - self.dark_counts) * math.exp(-detected * (1 - self.misalignment))
        return wrong * (1 - right / 2) / gain

    def live(self, clicks: float) -> float:
        """Clicks per pulse that a dead time of d pulses leaves of p: p / (1 + pd), a renewal process."""
        return clicks / (1 + clicks * self.dead_time)


LINKS: Mapping[str, Link] = MappingProxyType(
    {
        "lab": Link(efficiency=0.1, dark_counts=6e-7, misalignment=5e-3),
        "metro": Link(distance=25.0, efficiency=0.1, dark_counts=6e-7, misalignment=5e-3),
        "long": Link(distance=122.0, attenuation=0.21, efficiency=0.045, dark_counts=8.5e-7, misalignment=0.033),
    }
)
"""Links with published numbers.

``lab`` and ``metro`` have the InGaAs detectors of Lim et al., arXiv 1311.7129, Sec. IV, without their after-pulses, at
0 and 25 km; ``long`` is the experiment of Gobby, Yuan & Shields, Appl. Phys. Lett. 84, 3762 (2004), as Ma et al. (arXiv
quant-ph/0503005) model it: its 4.5 % hold the receiver's loss and its Y₀ of 1.7·10⁻⁶ is that of both detectors.
"""


def named(name: str) -> Link:
    """The link of that name in `LINKS`; `dataclasses.replace` gives it another distance.

    Raises:
        ConfigError: there is none.

    Example:
        >>> named("metro").distance
        25.0
    """
    if name not in LINKS:
        raise ConfigError(f"link {name!r}", remedy=nearest(name, LINKS))
    return LINKS[name]
