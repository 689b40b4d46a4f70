"""Lengths of keys from single photons or pairs: set beforehand by one proof, from what is seen by another."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.entropies import asymptotic_rate, entropy_of_errors, refuse_beyond_one
from qfedfm.qkd.proof import Epsilon, Length, Observed, Proof, Reason, Sample


def serfling(key: int | float, test: int | float, log_inverse: float) -> float:
    """√[(n + k)/(nk) · (k + 1)/k · L]: by how much the error rate of n bits exceeds that of k random others.

    It does so with probability at most e^{−2L} (Serfling, Ann. Stat. 2, 39 (1974); Tomamichel et al. 2012,
    Supplementary Note 2).

    Args:
        key: n > 0.
        test: k > 0.
        log_inverse: L, half the negative logarithm of the probability.
    """
    return math.sqrt((key + test) / (key * test) * (test + 1) / test * log_inverse)


def check_epsilon(epsilon: Epsilon) -> None:
    """Refuses a proof that is to prove nothing, or everything.

    Raises:
        ConfigError: ε_sec or ε_cor is not between 0 and 1.
    """
    if not (0 < epsilon.secrecy < 1 and 0 < epsilon.correctness < 1):
        raise ConfigError(f"{epsilon}", "secrecy and correctness between 0 and 1", "1e-10 and 1e-15 are usual")


def check_sizes(key: int, test: int, leak_cap: int) -> None:
    """Refuses sizes without sense.

    Raises:
        ConfigError: n or k is below 1, or the leak may be negative.
    """
    if key < 1 or test < 1 or leak_cap < 0:
        raise ConfigError(f"n = {key}, k = {test}, a leak of at most {leak_cap}", "n, k ≥ 1 and a cap of at least 0")


def short_of(seen: Observed, sample: Sample) -> Length | None:
    """Too few bits, if there are fewer than the proof asked for."""
    key, test = sample.key or 1, sample.test or 1
    if seen.key >= key and seen.test >= test:
        return None
    return Length(0, Reason.TOO_FEW_BITS, f"{seen.key} of {key} key bits, {seen.test} of {test} test bits")


@dataclass(frozen=True)
class FixedLength(Proof):
    """l = n (q − h(Q_tol + μ)) − leak − log2(2/(ε_sec² ε_cor)), μ = √[(n + k)/(nk) · (k + 1)/k · ln(4/ε_sec)].

    Tomamichel, Lim, Gisin & Renner, Nature Communications 3, 634 (2012), arXiv 1103.4130, Eq. 2 (Theorem 2). All of
    n, k, Q_tol and the cap on the leak are set before the first pulse, so l is too; when the test bits differ more
    often than Q_tol or reconciliation tells more than its cap there is no key at all. For BB84 with single photons
    and, with the same formula (source replacement), for BBM92.

    Assumes: Alice's two bases have the quality q, detection does not depend on the basis, single photons or (BBM92) a
    measurement at Alice that the formula describes.

    Args:
        key: n, bits of the key basis.
        test: k, bits of the other basis.
        tolerance: Q_tol, the largest accepted error rate of the test bits.
        leak_cap: bits that reconciliation may tell, both directions.
        epsilon: ε_sec and ε_cor.
        quality: q = −log2 max |⟨x|z⟩|² of Alice's bases; 1 for perfect ones.

    Raises:
        ConfigError: a size, a rate or an ε is out of range.

    Differs from the paper: the number of pulses is fixed first and random subsets of n and k bits are drawn
    afterwards (a run with fewer has no key), since sending until there are enough is not secure (Pfister et al.,
    arXiv 1506.07502).

    Example:
        >>> FixedLength(100_000, 20_000, 0.025, 18_553, Epsilon(1e-10, 1e-15)).bits
        47299
    """

    key: int
    test: int
    tolerance: float
    leak_cap: int
    epsilon: Epsilon = field(default=Epsilon(1e-10, 1e-15))
    quality: float = 1.0
    name = "Tomamichel, Lim, Gisin & Renner 2012, fixed length"

    def __post_init__(self) -> None:
        check_sizes(self.key, self.test, self.leak_cap)
        check_epsilon(self.epsilon)
        refuse_beyond_one(self.tolerance, "a tolerance")
        refuse_beyond_one(self.quality, "a quality")

    @property
    def sample(self) -> Sample:
        return Sample(self.key, self.test)

    @property
    def margin(self) -> float:
        """μ: what is added to Q_tol because only k bits are tested."""
        return serfling(self.key, self.test, math.log(4 / self.epsilon.secrecy))

    @property
    def exact(self) -> float:
        """L before it is cut to whole bits."""
        entropy = self.quality - entropy_of_errors(self.tolerance + self.margin)
        return self.key * entropy - self.leak_cap - math.log2(2 / self.epsilon.secrecy**2 / self.epsilon.correctness)

    @property
    def bits(self) -> int:
        """⌊l⌋, 0 if that is negative: known before the first pulse."""
        return max(math.floor(self.exact), 0)

    def refusal(self, seen: Observed) -> Length | None:
        short = short_of(seen, self.sample)
        if short is not None:
            return short
        if seen.rate > self.tolerance:
            return Length(0, Reason.ERRORS, f"{seen.rate:.4f} in the test, accepted up to {self.tolerance}")
        if self.tolerance + self.margin >= 0.5:
            detail = f"tolerance {self.tolerance} + margin {self.margin:.4f} leaves no entropy"
            return Length(0, Reason.TOO_FEW_BITS, detail)
        return None if self.bits else Length.of(self.exact)

    def length(self, seen: Observed, leaked: int) -> Length:
        refusal = self.refusal(seen)
        if refusal is not None:
            return refusal
        if leaked > self.leak_cap:
            return Length(0, Reason.LEAK, f"{leaked} bits, accepted up to {self.leak_cap}")
        return Length.of(self.exact)


@dataclass(frozen=True)
class VariableLength(Proof):
    """l = n (1 − h(e + γ)) − leak − 2 log2(1/(2 ε_PA)) − log2(2/ε_cor), γ = √[(n + k)(k + 1)/(n k²) · ln(1/ε_AT)].

    Tupkary, Nahar, Sinha & Lütkenhaus, Quantum 9, 1937 (2025), arXiv 2408.17349, for detectors without mismatch (their
    δ_1 = δ_2 = 0), in the variable-length sense of Tupkary, Tan & Lütkenhaus, arXiv 2311.01600: the observed e, n, k
    and leak may be put in. ε_sec = 2 ε_AT + ε_PA; here ε_AT = ε_PA = ε_sec/3. For BB84 with single photons and for
    BBM92.

    Assumes: perfect bases at Alice, detection that does not depend on the basis.

    Refuses before reconciliation where not even Shannon's limit, n h(e), would leave a bit.

    Args:
        epsilon: ε_sec and ε_cor.

    Raises:
        ConfigError: an ε is out of range.

    Example:
        >>> VariableLength().length(Observed(key=100_000, test=20_000, errors=500), leaked=18_553).reason is None
        True
    """

    epsilon: Epsilon = field(default=Epsilon(1e-10, 1e-15))
    name = "Tupkary, Nahar, Sinha & Lütkenhaus 2025, variable length"

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)

    @property
    def sample(self) -> Sample:
        return Sample()

    def refusal(self, seen: Observed) -> Length | None:
        short = short_of(seen, self.sample)
        if short is not None:
            return short
        limit = self._secret(seen) - seen.key * entropy_of_errors(seen.rate)
        if limit >= 1:
            return None
        reason = Reason.ERRORS if asymptotic_rate(min(seen.rate, 0.5)) <= 0 else Reason.TOO_FEW_BITS
        found = f"{seen.rate:.4f} in the test of {seen.test}, at most {self._phase_error(seen):.4f} among {seen.key}"
        return Length(0, reason, found, limit)

    def length(self, seen: Observed, leaked: int) -> Length:
        refusal = self.refusal(seen)
        if refusal is not None:
            return refusal
        secret = self._secret(seen)
        return Length.of(secret - leaked, Reason.LEAK, f"{secret:.1f} secret bits, {leaked} told")

    def _secret(self, seen: Observed) -> float:
        """What l would be if nothing were told."""
        entropy = 1 - entropy_of_errors(self._phase_error(seen))
        return seen.key * entropy - variable_length_cost(self.epsilon)

    def _phase_error(self, seen: Observed) -> float:
        return seen.rate + serfling(seen.key, seen.test, math.log(3 / self.epsilon.secrecy))


def variable_length_cost(epsilon: Epsilon) -> float:
    """2 log2(1/(2 ε_PA)) + log2(2/ε_cor) with ε_PA = ε_sec/3, in bits."""
    return 2 * math.log2(1.5 / epsilon.secrecy) + math.log2(2 / epsilon.correctness)
