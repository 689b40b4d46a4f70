"""The length of a key from entangled pairs whose test is the game of Clauser, Horne, Shimony and Holt."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from qfedfm.qkd.entropies import entropy_of_errors, refuse_beyond_one
from qfedfm.qkd.finite import check_epsilon, check_sizes, serfling, short_of
from qfedfm.qkd.proof import Epsilon, Length, Observed, Proof, Reason, Sample

_ROOT2 = math.sqrt(2)


def chsh_value(lost: float) -> float:
    """S = 4 − 8 (1 − ω), ω the share of games won when the four pairs of settings are equally likely."""
    return 4 - 8 * lost


@dataclass(frozen=True)
class ChshLength(Proof):
    """l = n (1 − h(φ)) − leak − log2(2/(ε_sec² ε_cor)), φ = 1 − S_tol'/(2√2) with S_tol' = S_tol less two margins.

    For E91 when both devices measure qubits at the angles they are set to (the device-independent rate is apart:
    `entropies.device_independent_rate`). A corollary of Tomamichel et al. 2012 (arXiv 1103.4130): with Alice's two
    angles of the game at right angles on the Bloch circle and Bob's halfway, the operator of the game is S = √2 (Z⊗Z
    + X⊗X) = √2 (W⊗W + V⊗V) for any right-angled pair W, V of that circle. Its eigenstates are the four Bell states,
    with f = 1 − S/(2√2) = 0, 1, 1, 2 = [bits differ in W] + [bits differ in V]. So a Bell measurement of all n + k
    pairs before any other would change neither the game nor the phase errors of keys measured in W, and these are at
    most the mean of f over the n key pairs. It exceeds that over the k random others by more than 2μ with probability
    at most e^{−2L} (Serfling, values in [0, 2]); the share of games won, fair coins of known bias given the Bell
    states, exceeds its mean by more than t = √(L/k) with probability at most e^{−2L} (Hoeffding). L = ln(4/ε_sec) + ½
    ln 2, so that both together stay below (ε_sec/4)², which Tomamichel's theorem asks for. Hence φ = 1 − S_tol/(2√2)
    + 2√2 t + 2μ.

    Assumes: qubits, angles as set, settings chosen with equal probability and by chance, detection that does not
    depend on the setting.

    Args:
        key: n, pairs with equal angles.
        test: k, pairs of the game.
        tolerance: S_tol, the smallest accepted S.
        leak_cap: bits that reconciliation may tell.
        epsilon: ε_sec and ε_cor.

    Raises:
        ConfigError: a size or an ε is out of range, or S_tol is not in [0, 2√2].

    Differs from the paper: the test is the game and not the other basis, as Ekert, PRL 67, 661 (1991), has it; the step
    from the game to phase errors is the one given here.
    """

    key: int
    test: int
    tolerance: float
    leak_cap: int
    epsilon: Epsilon = field(default=Epsilon(1e-10, 1e-15))
    name = "corollary of Tomamichel, Lim, Gisin & Renner 2012 for the CHSH game, fixed length"

    def __post_init__(self) -> None:
        check_sizes(self.key, self.test, self.leak_cap)
        check_epsilon(self.epsilon)
        refuse_beyond_one(self.tolerance / (2 * _ROOT2), "a tolerance, as a share of 2√2,")

    @property
    def sample(self) -> Sample:
        return Sample(self.key, self.test)

    @property
    def phase_error(self) -> float:
        """φ."""
        log_inverse = math.log(4 / self.epsilon.secrecy) + math.log(2) / 2
        won = math.sqrt(log_inverse / self.test)
        return 1 - self.tolerance / (2 * _ROOT2) + 2 * _ROOT2 * won + 2 * serfling(self.key, self.test, log_inverse)

    @property
    def exact(self) -> float:
        """L before it is cut to whole bits."""
        fixed = math.log2(2 / self.epsilon.secrecy**2 / self.epsilon.correctness)
        return self.key * (1 - entropy_of_errors(self.phase_error)) - self.leak_cap - fixed

    def refusal(self, seen: Observed) -> Length | None:
        short = short_of(seen, self.sample)
        if short is not None:
            return short
        value = chsh_value(seen.rate)
        if value < self.tolerance:
            return Length(0, Reason.CHSH, f"S = {value:.3f}, accepted from {self.tolerance}")
        return None if self.exact >= 1 else Length.of(self.exact)

    def length(self, seen: Observed, leaked: int) -> Length:
        refusal = self.refusal(seen)
        if refusal is not None:
            return refusal
        if leaked > self.leak_cap:
            return Length(0, Reason.LEAK, f"{leaked} bits, accepted up to {self.leak_cap}")
        return Length.of(self.exact)

    def qber(self, seen: Observed) -> float:
        """(1 − S/(2√2))/2, that of a Werner state."""
        return min(max((1 - chsh_value(seen.rate) / (2 * _ROOT2)) / 2, 0.0), 0.5)
