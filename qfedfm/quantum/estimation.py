"""Amplitude estimation without phase estimation: by maximum likelihood, and iteratively with a confidence interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.amplification import Mean, flagged
from qfedfm.quantum.executor import Executor, Outcome
from qfedfm.quantum.executors.ideal import Exact

_EXACT = Exact()
_NORMAL = 1.959963984540054
"""97.5 % of a standard normal variable lie below."""
_BISECTIONS = 54
"""Halvings after which an interval is as short as float64 can tell."""


@dataclass(frozen=True)
class Queries:
    """What an estimate cost; costs add up.

    Args:
        oracle: applications of A: m + 1 in each shot of Qᵐ A.
        adjoint: applications of A†: m in each shot.
        circuits: executed.
        shots: taken in all of them, 0 where an executor computes probabilities exactly; a circuit that took none counts
            the queries of one run.
    """

    oracle: int = 0
    adjoint: int = 0
    circuits: int = 0
    shots: int = 0

    @property
    def total(self) -> int:
        """Applications of A and of A†."""
        return self.oracle + self.adjoint

    def __add__(self, other: Queries) -> Queries:
        return Queries(
            self.oracle + other.oracle, self.adjoint + other.adjoint,
            self.circuits + other.circuits, self.shots + other.shots,
        )  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """An estimated mean.

    Args:
        value: of a, from 0 to 1.
        standard_error: of the value; 0 where the probabilities were exact.
        interval: that covers a with the stated confidence.
        queries: what it cost.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]
    queries: Queries


@dataclass(frozen=True)
class Seen:
    """What one circuit Qᵐ A gave.

    Args:
        power: m.
        share: of shots with flag 1, or the probability.
        shots: 0 where the share is exact.
        circuits: that the executor ran for it.
    """

    power: int
    share: float
    shots: int
    circuits: int = 1

    @property
    def queries(self) -> Queries:
        """Those of all its shots."""
        runs = max(self.shots, self.circuits)
        return Queries(runs * (self.power + 1), runs * self.power, self.circuits, self.shots)


Sampler = Callable[[int, Key], Seen]
"""Runs Qᵐ A."""


def measured(mean: Mean, executor: Executor) -> Sampler:
    """Each Qᵐ A runs on an executor whenever it is asked for."""

    def sample(power: int, key: Key) -> Seen:
        outcome = executor.run(mean.circuit(power), np.zeros((1, 0)), key)
        return Seen(power, _share(outcome), outcome.shots, outcome.circuits)

    return sample


def drawn(mean: Mean, shots: int, executor: Executor = _EXACT) -> Sampler:
    """Each Qᵐ A is simulated once; its shots are drawn from that, as the executor `Shots` would for every key.

    Args:
        mean: what is estimated.
        shots: of each circuit.
        executor: of the simulation: one that gives probabilities, the ideal ones or those under noise.

    Raises:
        ConfigError: fewer than one shot.
    """
    if shots < 1:
        raise ConfigError(f"{shots} shots", "at least 1")
    known: dict[int, float] = {}

    def sample(power: int, key: Key) -> Seen:
        if power not in known:
            known[power] = _share(executor.run(mean.circuit(power), np.zeros((1, 0)), key))
        return Seen(power, int(key.numpy().binomial(shots, known[power])) / shots, shots)

    return sample


def _share(outcome: Outcome) -> float:
    """Rounding may lift a sum of probabilities above one."""
    return min(1.0, max(0.0, float(flagged(outcome.probabilities)[0])))


def exponential(depth: int) -> tuple[int, ...]:
    """The powers 0, 1, 2, 4 … 2^(depth − 1): the exponentially incremental sequence of Suzuki et al.

    Raises:
        ConfigError: a negative depth.

    Example:
        >>> exponential(4)
        (0, 1, 2, 4, 8)
    """
    if depth < 0:
        raise ConfigError(f"depth = {depth}", "at least 0")
    return (0, *(2**step for step in range(depth)))


def fisher_information(a: float, powers: Sequence[int], shots: int) -> float:
    """I(a) = Σ_k N (2m_k + 1)² / (a(1 − a)) for N shots at each power; an unbiased estimate has a variance ≥ 1/I.

    Suzuki et al., equation 13.

    Example:
        >>> fisher_information(0.5, (0, 1), 10)
        400.0
    """
    squares = sum((2 * power + 1) ** 2 for power in powers)
    return math.inf if a in (0.0, 1.0) else shots * squares / (a * (1 - a))


def maximum_likelihood(sample: Sampler, powers: Sequence[int], key: Key) -> Estimate:
    """The a = sin²θ under which the shares seen at all powers are likeliest.

    log L(θ) = Σ_k h_k log sin²((2m_k + 1)θ) + (N_k − h_k) log cos²((2m_k + 1)θ), h_k the shots with flag 1. Suzuki et
    al., Quantum Information Processing 19, 75 (2020), arXiv 1904.10246. With m_k = `exponential` the error falls with
    the queries q as 1/q, up to what the first powers lose. log L is concave between neighbouring multiples of
    π/(2(2m_k + 1)); in each such piece its slope is bisected, so that the global maximum is found.
    The standard error is the Cramér–Rao bound √(a(1 − a) / Σ N_k (2m_k + 1)²) at the estimate; the interval (95 %) is
    that of θ, θ ± 1.96 / (2 √(Σ N_k (2m_k + 1)²)), taken to a. Both hold for many shots. Near values of a at which
    sin²((2m + 1)θ) of the largest power is 0 or 1, θ and its mirror image are nearly as likely: there, with 100 shots,
    the spread was up to 1.7 times the bound and the bias up to 0.6 of it. A device's noise is in neither of them.

    Differs from the paper: no search over a grid. Where the executor is exact, so is the estimate.

    Args:
        sample: of `measured` or `drawn`.
        powers: m_k, at least one; without 0 among them several a may be equally likely.
        key: folded by power.

    Raises:
        ConfigError: no power, or one twice.
    """
    if not powers or len(set(powers)) < len(powers):
        raise ConfigError(f"powers {tuple(powers)}", "at least one, each once")
    seen = [sample(power, key.fold("power", power)) for power in powers]
    factors = np.array([2.0 * each.power + 1 for each in seen])
    shots = np.array([float(each.shots or 1) for each in seen])
    theta = _likeliest(factors, shots * [each.share for each in seen], shots)
    information = float(shots @ factors**2)
    exact = any(each.shots == 0 for each in seen)
    margin = 0.0 if exact else 1 / math.sqrt(information)
    ends = theta - _NORMAL * margin / 2, theta + _NORMAL * margin / 2
    low, high = (math.sin(min(max(end, 0.0), math.pi / 2)) ** 2 for end in ends)
    error = margin * math.sin(2 * theta) / 2  # √(a(1 − a)) = sin 2θ / 2
    return Estimate(math.sin(theta) ** 2, error, (low, high), sum((each.queries for each in seen), Queries()))


def _likeliest(
    factors: Float64[np.ndarray, " k"], hits: Float64[np.ndarray, " k"], shots: Float64[np.ndarray, " k"]
) -> float:
    """θ of the largest log-likelihood in [0, π/2]."""
    poles = np.concatenate([np.arange(2 * factor + 2) / factor for factor in factors]) * (math.pi / 2)
    edges = np.unique(poles[poles <= math.pi / 2 * (1 + 1e-12)])
    low, high = edges[:-1], edges[1:]
    wide = high - low > 1e-9
    low, high = low[wide], high[wide]
    missed = (shots - hits)[:, None]
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        tangent = np.tan(factors[:, None] * middle)
        rising = (factors[:, None] * (hits[:, None] / tangent - missed * tangent)).sum(axis=0) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    theta = (low + high) / 2
    sine = np.sin(factors[:, None] * theta) ** 2
    tiny = np.finfo(np.float64).tiny
    likelihood = hits[:, None] * np.log(np.maximum(sine, tiny)) + missed * np.log(np.maximum(1 - sine, tiny))
    return float(theta[np.argmax(likelihood.sum(axis=0))])
