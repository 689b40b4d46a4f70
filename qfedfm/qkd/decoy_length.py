"""Lengths of keys from laser pulses of three intensities: bounds on single photons, and two proofs that use them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.entropies import entropy_of_errors
from qfedfm.qkd.finite import check_epsilon, check_sizes, serfling, short_of, variable_length_cost
from qfedfm.qkd.proof import Epsilon, Length, Observed, PerIntensity, Proof, Reason, Sample

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Intensities:
    """Mean photon numbers μ_1 > μ_2 + μ_3, μ_2 > μ_3 ≥ 0, in the order of `Half.intensity`, and how often each is sent.

    Args:
        means: photons a pulse.
        probabilities: p_k > 0 with sum 1, the same in both bases.

    Raises:
        ConfigError: one of these does not hold.
    """

    means: Three = (0.5, 0.1, 0.0)
    probabilities: Three = (0.7, 0.15, 0.15)

    def __post_init__(self) -> None:
        signal, decoy, weakest = self.means
        if not (0 <= weakest < decoy and decoy + weakest < signal < math.inf):
            raise ConfigError(f"mean photon numbers {self.means}", "μ_1 > μ_2 + μ_3 and μ_2 > μ_3 ≥ 0")
        if not (min(self.probabilities) > 0 and math.isclose(sum(self.probabilities), 1, abs_tol=1e-9)):
            raise ConfigError(f"probabilities {self.probabilities}", "numbers above 0 with sum 1")

    def photons(self, number: int) -> float:
        """τ_n = Σ_k p_k e^{−k} kⁿ/n!, probability of n photons in a pulse."""
        pairs = zip(self.means, self.probabilities, strict=True)
        return sum(p * math.exp(-mean) * mean**number for mean, p in pairs) / math.factorial(number)

    def weigh(self, counts: tuple[int, int, int], deviation: float) -> Three:
        """e^k/p_k (n_k + deviation) for each intensity k (Lim et al. 2014, below Eq. 2)."""
        scaled = zip(self.means, self.probabilities, counts, strict=True)
        first, second, third = (math.exp(mean) / p * (count + deviation) for mean, p, count in scaled)
        return first, second, third


@dataclass(frozen=True)
class SinglePhotons:
    """Bounds on how many bits came from pulses of no and of one photon.

    Args:
        vacuum: s_0 of the key bits, from below.
        key: s_1 of the key bits, from below.
        test: s_1 of the tested bits, from below.
        errors: v_1 of the tested bits, from above.
    """

    vacuum: float
    key: float
    test: float
    errors: float


def single_photons(counts: PerIntensity, source: Intensities, deviation: Callable[[int], float]) -> SinglePhotons:
    """Lim, Curty, Walenta, Xu & Zbinden, PRA 89, 022307 (2014), arXiv 1311.7129, Eqs. 2–4.

    Args:
        counts: by intensity.
        source: its intensities.
        deviation: how far the counts of n bits may be from their means.

    Differs from the paper: all bounds are cut at 0, and so is the lower bound on the errors of the weakest intensity.
    """
    vacuum, key = _vacuum_and_single(counts.key, source, deviation(sum(counts.key)))
    _, test = _vacuum_and_single(counts.test, source, deviation(sum(counts.test)))
    spread = deviation(sum(counts.errors))
    most, least = source.weigh(counts.errors, spread)[1], source.weigh(counts.errors, -spread)[2]
    gap = source.means[1] - source.means[2]
    return SinglePhotons(vacuum, key, test, max(source.photons(1) * (most - max(least, 0.0)) / gap, 0.0))


def _vacuum_and_single(counts: tuple[int, int, int], source: Intensities, spread: float) -> tuple[float, float]:
    """s_0 and s_1 from below (Eqs. 2 and 3)."""
    signal, decoy, weakest = source.means
    least, most = source.weigh(counts, -spread), source.weigh(counts, spread)
    empty, one = source.photons(0), source.photons(1)
    vacuum = max(empty * (decoy * least[2] - weakest * most[1]) / (decoy - weakest), 0.0)
    more = (decoy**2 - weakest**2) / signal**2 * (most[0] - vacuum / empty)
    single = one * signal * (least[1] - most[2] - more) / (signal * (decoy - weakest) - decoy**2 + weakest**2)
    return vacuum, max(single, 0.0)


class DecoyProof(Proof):
    """What both proofs for three intensities share.

    Args:
        source: the intensities.
        epsilon: ε_sec and ε_cor.
    """

    source: Intensities

    @abstractmethod
    def deviation(self, count: int) -> float:
        """How far counts of that many bits may be from their means."""

    @abstractmethod
    def margin(self, bounds: SinglePhotons) -> float:
        """By how much the phase errors of the key may exceed v_1/s_1 of the test."""

    @abstractmethod
    def bits_beyond(self, bounds: SinglePhotons) -> float:
        """What is added to s_1 (1 − h(φ)) − leak."""

    def bounds(self, seen: Observed) -> SinglePhotons:
        """On the single photons.

        Raises:
            ConfigError: the counts by intensity are missing or do not add up.
        """
        counts = seen.intensities
        if counts is None or (sum(counts.key), sum(counts.test), sum(counts.errors)) != (
            seen.key, seen.test, seen.errors,
        ):  # fmt: skip
            raise ConfigError("counts by intensity that are missing or do not add up", "those of all bits")
        return single_photons(counts, self.source, self.deviation)

    def phase_error(self, bounds: SinglePhotons) -> float:
        """φ from above, 1/2 where nothing is known."""
        if min(bounds.key, bounds.test) <= 0 or bounds.errors >= bounds.test / 2:
            return 0.5
        return min(bounds.errors / bounds.test + self.margin(bounds), 0.5)

    def refusal(self, seen: Observed) -> Length | None:
        short = short_of(seen, self.sample)
        if short is not None:
            return short
        bounds = self.bounds(seen)
        rate = self.phase_error(bounds)
        if rate < 0.5:
            return None
        detail = f"at least {bounds.key:.0f} and {bounds.test:.0f} single photons, at most {bounds.errors:.0f} errors"
        return Length(0, Reason.DECOY, detail)

    def length(self, seen: Observed, leaked: int) -> Length:
        refusal = self.refusal(seen)
        if refusal is not None:
            return refusal
        bounds = self.bounds(seen)
        secret = bounds.key * (1 - entropy_of_errors(self.phase_error(bounds))) + self.bits_beyond(bounds)
        reason = Reason.TOO_FEW_BITS if secret < 1 else Reason.LEAK
        return Length.of(secret - leaked, reason, f"{secret:.1f} secret bits, {leaked} told")


@dataclass(frozen=True)
class Lim(DecoyProof):
    """l = s_0 + s_1 (1 − h(φ)) − leak − 6 log2(21/ε_sec) − log2(2/ε_cor), φ = v_1/s_1 + γ.

    Lim, Curty, Walenta, Xu & Zbinden, PRA 89, 022307 (2014), arXiv 1311.7129, Eqs. 1–5; s_0, s_1 of the key bits,
    v_1/s_1 of the tested ones, γ = √[(c + d)(1 − b) b/(c d ln 2) · log2((c + d)/(c d (1 − b) b) · 21²/ε_sec²)] with b
    = v_1/s_1 of the test, c and d the single photons of test and key.

    Assumes: phases of the pulses are random, detection does not depend on the basis. γ is an approximation and not a
    strict bound (Tupkary et al., arXiv 2502.10340): `VariableLengthDecoy` has a strict one.

    Args:
        key: n, bits of the key basis.
        test: k, bits of the other one.
        leak_cap: bits that reconciliation may tell; more ends the run.
        source: the intensities.
        epsilon: ε_sec and ε_cor.

    Raises:
        ConfigError: a size or an ε is out of range.

    Differs from the paper: the number of pulses is fixed first and random subsets of n and k bits are drawn
    afterwards; the counts by intensity go in as observed, which their fixed-length statement does not cover, though
    it is common; b is taken as at least 1/s_1, since with b = 0 γ would claim that nothing is uncertain.
    """

    key: int
    test: int
    leak_cap: int
    source: Intensities = field(default=Intensities())
    epsilon: Epsilon = field(default=Epsilon(1e-10, 1e-15))
    name = "Lim, Curty, Walenta, Xu & Zbinden 2014"

    def __post_init__(self) -> None:
        check_sizes(self.key, self.test, self.leak_cap)
        check_epsilon(self.epsilon)

    @property
    def sample(self) -> Sample:
        return Sample(self.key, self.test)

    def deviation(self, count: int) -> float:
        return math.sqrt(count / 2 * math.log(21 / self.epsilon.secrecy))

    def margin(self, bounds: SinglePhotons) -> float:
        c, d = bounds.test, bounds.key
        b = max(bounds.errors, 1.0) / c
        if b >= 0.5:
            return 0.5
        spread = (c + d) / (c * d)
        inside = math.log2(spread / ((1 - b) * b) * (21 / self.epsilon.secrecy) ** 2)
        return math.sqrt(spread * (1 - b) * b / math.log(2) * inside)

    def bits_beyond(self, bounds: SinglePhotons) -> float:
        fixed = 6 * math.log2(21 / self.epsilon.secrecy) + math.log2(2 / self.epsilon.correctness)
        return bounds.vacuum - fixed

    def length(self, seen: Observed, leaked: int) -> Length:
        if leaked > self.leak_cap:
            return Length(0, Reason.LEAK, f"{leaked} bits, accepted up to {self.leak_cap}")
        return super().length(seen, leaked)


@dataclass(frozen=True)
class VariableLengthDecoy(DecoyProof):
    """l = s_1 (1 − h(φ)) − leak − 2 log2(1/(2 ε_PA)) − log2(2/ε_cor), φ = v_1/s_1 + γ with γ of `serfling`.

    Tupkary, Nahar, Sinha & Lütkenhaus, Quantum 9, 1937 (2025), arXiv 2408.17349, the part on decoy states, for
    detectors without mismatch: counts deviate by √(n/2 · ln(2/ε_d²)), nine times, γ's own failure has ε_S², and ε_AT²
    = 9 ε_d² + ε_S². ε_sec = 2 ε_AT + ε_PA; here ε_AT = ε_PA = ε_sec/3 and ε_d = ε_S. Everything observed may be put
    in.

    Assumes: phases of the pulses are random, detection does not depend on the basis.

    Args:
        source: the intensities.
        epsilon: ε_sec and ε_cor.

    Raises:
        ConfigError: an ε is out of range.
    """

    source: Intensities = field(default=Intensities())
    epsilon: Epsilon = field(default=Epsilon(1e-10, 1e-15))
    name = "Tupkary, Nahar, Sinha & Lütkenhaus 2025, variable length with decoys"

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)

    @property
    def sample(self) -> Sample:
        return Sample()

    @property
    def _each(self) -> float:
        """ε_d = ε_S = ε_AT/√10."""
        return self.epsilon.secrecy / 3 / math.sqrt(10)

    def deviation(self, count: int) -> float:
        return math.sqrt(count / 2 * (math.log(2) - 2 * math.log(self._each)))

    def margin(self, bounds: SinglePhotons) -> float:
        return serfling(bounds.key, bounds.test, -math.log(self._each))

    def bits_beyond(self, bounds: SinglePhotons) -> float:
        return -variable_length_cost(self.epsilon)
