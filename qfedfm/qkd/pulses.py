"""Pulses on their way from Alice to Bob, and what everyone knows about the source that sends them.

All states lie on the great circle of the Bloch sphere through |0⟩ and |+⟩. A state is the number of eighths of a turn
that it is away from |0⟩: 0 for |0⟩, 2 for |+⟩, 4 for |1⟩, 6 for |−⟩; 1 and 5 are the Breidbart basis, halfway between Z
and X.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.entropy import Entropy

_TILTED = (1 - math.sqrt(0.5)) / 2
ONE = np.array([0, _TILTED, 0.5, 1 - _TILTED, 1, 1 - _TILTED, 0.5, _TILTED])
"""(1 − cos(kπ/4))/2: the probability of outcome 1 where the state is k eighths away from the one of outcome 0."""

FOUR_STATES = ((0, 4), (2, 6))
"""|0⟩ and |1⟩, |+⟩ and |−⟩."""

_MOST_PHOTONS = 10.0
"""Mean of a pulse; its number of photons then fits into a byte (P(n > 255) < 10⁻²⁵⁰)."""
_TERMS = 64


def choices(entropy: Entropy, count: int, probabilities: tuple[float, ...]) -> UInt8[np.ndarray, " n"]:
    """Independent choices k with probabilities p_k, rounded to multiples of 2⁻³².

    Example:
        >>> from qfedfm.qkd.entropy import System
        >>> choices(System(), 3, (1.0,)).tolist()
        [0, 0, 0]
    """
    if probabilities == (0.5, 0.5):
        return entropy.bits(count)
    chosen = np.zeros(count, np.uint8)
    if len(probabilities) > 1:
        uniform = np.frombuffer(entropy.bytes(4 * count), "<u4")
        for edge in list(accumulate(probabilities))[:-1]:
            chosen += uniform >= round(edge * 2**32)
    return chosen


@dataclass(frozen=True)
class Source:
    """What Alice sends, as known to everyone.

    Args:
        states: the states of bits 0 and 1, for each basis.
        bases: probability of each basis.
        means: μ, the mean photon number of each intensity, Poissonian (weak coherent pulses of random phase); empty for
            exactly one photon a pulse.
        shares: probability of each intensity.

    Raises:
        ConfigError: probabilities that are not positive or do not sum to 1, or a mean beyond 0 to 10.

    Example:
        >>> Source(FOUR_STATES, (0.5, 0.5), means=(0.5,)).distribution[:2].round(3).tolist()
        [0.607, 0.303]
    """

    states: tuple[tuple[int, int], ...]
    bases: tuple[float, ...]
    means: tuple[float, ...] = ()
    shares: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for name, of in (("bases", self.bases), ("intensities", self.shares)):
            if not (all(probability > 0 for probability in of) and math.isclose(sum(of), 1)):
                raise ConfigError(f"{name} with probabilities {of}", "positive ones that sum to 1")
        for mean in self.means:
            if not 0 <= mean <= _MOST_PHOTONS:
                raise ConfigError(f"pulses of {mean} photons in the mean", f"0 to {_MOST_PHOTONS:g}")

    @cached_property
    def distribution(self) -> Float64[np.ndarray, " k"]:
        """P(n), n = 0, 1, …, of the photon number over all intensities."""
        n = np.arange(_TERMS)
        p: np.ndarray = (n == 1).astype(float)
        if self.means:
            factorial = np.array([float(math.factorial(k)) for k in n.tolist()])
            mean, share = np.array([self.means]).T, np.array([self.shares]).T
            p = (share * np.exp(-mean) * mean**n / factorial).sum(axis=0)
        return p

    def prepare(self, count: int, entropy: Entropy, noise: np.random.Generator) -> Pulses:
        """The next pulses: bits, bases and intensities from ``entropy``, photon numbers from ``noise``."""
        bit = entropy.bits(count)
        basis, intensity = choices(entropy, count, self.bases), choices(entropy, count, self.shares)
        photons = np.ones(count, np.uint8)
        for number, mean in enumerate(self.means):
            at = np.flatnonzero(intensity == number)
            photons[at] = noise.poisson(mean, len(at))
        return Pulses(self, bit, basis, intensity, photons)


@dataclass(frozen=True, eq=False, repr=False)
class Pulses:
    """What leaves Alice.

    Args:
        source: it came from.
        bit: she encoded.
        basis: number of the basis she chose.
        intensity: number of the intensity she chose.
        photons: in the pulse, which she does not know.
    """

    source: Source
    bit: UInt8[np.ndarray, " n"]
    basis: UInt8[np.ndarray, " n"]
    intensity: UInt8[np.ndarray, " n"]
    photons: UInt8[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.bit)

    @cached_property
    def angle(self) -> UInt8[np.ndarray, " n"]:
        """The states, in eighths of a turn."""
        angle: np.ndarray = np.array(self.source.states, np.uint8).reshape(-1)[2 * self.basis + self.bit]
        return angle


@dataclass(frozen=True, eq=False, repr=False)
class Arriving:
    """What comes to Bob, and what the eavesdropper will make of it.

    Args:
        angle: states, in eighths of a turn.
        photons: that set out on the rest of the way.
        transmittance: of a photon on the rest of the way and in the receiver.
        guess: her best guess of Alice's bit, once bases are announced.
        chance: that it is right, given all that she has measured and heard; ½ where she knows nothing.
    """

    angle: UInt8[np.ndarray, " n"]
    photons: UInt8[np.ndarray, " n"]
    transmittance: float
    guess: UInt8[np.ndarray, " n"]
    chance: Float32[np.ndarray, " n"]
