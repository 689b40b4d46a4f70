"""What a proof of secrecy is asked: whether to go on, how long the key may be, and if there is none, why."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from qfedfm.core.errors import ConfigError


class Reason(Enum):
    """Why there is no key."""

    TOO_FEW_BITS = "too few bits"
    ERRORS = "error rate too high"
    DECOY = "decoy statistics"
    CHSH = "CHSH value too low"
    LEAK = "reconciliation told too much"
    VERIFICATION = "keys differ after reconciliation"
    AUTHENTICATION = "a message was not authentic"
    NO_PROOF = "no proof"


@dataclass(frozen=True)
class Epsilon:
    """How far real keys may be from ideal ones: probabilities that add up, within a key and over keys.

    ε = ε_sec + ε_cor + ε_auth (composable security: Portmann & Renner, arXiv 1409.3525). Whatever uses keys 1…m
    together is Σ ε_i further from ideal than with ideal keys.

    Args:
        secrecy: ε_sec, trace distance of the key from one of which nobody knows anything.
        correctness: ε_cor, probability that the two keys differ and nobody notices.
        authentication: ε_auth, probability that a forged message passes.

    Raises:
        ConfigError: one of them is negative or not finite.

    Example:
        >>> sum_of([Epsilon(1e-10, 1e-15), Epsilon(1e-10, 1e-15, 1e-30)]).secrecy
        2e-10
    """

    secrecy: float
    correctness: float
    authentication: float = 0.0

    def __post_init__(self) -> None:
        parts = (self.secrecy, self.correctness, self.authentication)
        if not all(math.isfinite(part) and part >= 0 for part in parts):
            raise ConfigError(f"ε of {parts}", "numbers of at least 0")

    @property
    def total(self) -> float:
        """ε_sec + ε_cor + ε_auth."""
        return self.secrecy + self.correctness + self.authentication

    def __add__(self, other: Epsilon) -> Epsilon:
        return Epsilon(
            self.secrecy + other.secrecy,
            self.correctness + other.correctness,
            self.authentication + other.authentication,
        )


def sum_of(epsilons: Iterable[Epsilon]) -> Epsilon:
    """ε of several keys together."""
    return sum(epsilons, Epsilon(0.0, 0.0))


@dataclass(frozen=True)
class Sample:
    """How many sifted bits become key and how many are tested; both chosen at random among those that may.

    Args:
        key: n; None for all that may.
        test: k; None for all that may.
    """

    key: int | None = None
    test: int | None = None

    def __post_init__(self) -> None:
        for count in (self.key, self.test):
            if count is not None and count < 1:
                raise ConfigError(f"a sample of {count} bits", "at least 1, or None for all")


@dataclass(frozen=True)
class PerIntensity:
    """Counts of the bits sent with each of the three intensities.

    Args:
        key: bits that become key.
        test: tested bits.
        errors: of the tested ones.
    """

    key: tuple[int, int, int]
    test: tuple[int, int, int]
    errors: tuple[int, int, int]


@dataclass(frozen=True)
class Observed:
    """What both parties know when the test is over.

    Args:
        key: n, bits that are to become key.
        test: k, tested bits, of the other basis; with CHSH, tested pairs.
        errors: tested bits that differ; with CHSH, pairs that lost the game.
        intensities: the same by intensity; None without decoys.
    """

    key: int
    test: int
    errors: int
    intensities: PerIntensity | None = None

    @property
    def rate(self) -> float:
        """Errors / test; 1/2, which is what knowing nothing gives, when nothing was tested."""
        return self.errors / self.test if self.test else 0.5


@dataclass(frozen=True)
class Length:
    """How long the key may be.

    Args:
        bits: l, 0 if there is no key.
        reason: why there is none.
        detail: the same with numbers.
        exact: the formula's value before it is cut to whole bits; −∞ where none was computed.
    """

    bits: int
    reason: Reason | None = None
    detail: str = ""
    exact: float = -math.inf

    @classmethod
    def of(cls, exact: float, reason: Reason = Reason.TOO_FEW_BITS, detail: str = "") -> Length:
        """⌊exact⌋ bits, or none for that reason if that is less than 1."""
        if exact >= 1:
            return cls(math.floor(exact), exact=exact)
        return cls(0, reason, detail or f"the formula gives {exact:.1f} bits", exact)


class Proof(ABC):
    """A proof of secrecy, with everything that has to be set before the first pulse."""

    name: str
    """Of the proof: authors and year."""
    epsilon: Epsilon
    """What it proves."""

    @property
    @abstractmethod
    def sample(self) -> Sample:
        """Which bits it needs."""

    @abstractmethod
    def refusal(self, seen: Observed) -> Length | None:
        """Why to abort now, before anything is told about the key; None to go on."""

    @abstractmethod
    def length(self, seen: Observed, leaked: int) -> Length:
        """The length of the key.

        Args:
            seen: in the test.
            leaked: bits about the key that reconciliation told, without the tag of the verification, which the
                formulas hold already.
        """

    def qber(self, seen: Observed) -> float:
        """The error rate to expect among the key bits, for the reconciliation."""
        return seen.rate


@dataclass(frozen=True)
class NoProof(Proof):
    """For a protocol whose keys no proof here covers: the chain runs and says what it saw, and gives no key.

    Args:
        test: k, bits to test.
        why: what is missing.
    """

    test: int
    why: str
    name = "none"
    epsilon = Epsilon(1.0, 1.0)

    @property
    def sample(self) -> Sample:
        return Sample(test=self.test)

    def refusal(self, seen: Observed) -> Length | None:
        return self.length(seen, 0)

    def length(self, seen: Observed, leaked: int) -> Length:
        return Length(0, Reason.NO_PROOF, self.why)
