"""Binary entropy, and the key rates that remain when there is no end to the pulses."""

from __future__ import annotations

import math

from qfedfm.core.errors import ConfigError


def binary_entropy(p: float) -> float:
    """h(p) = −p log2 p − (1 − p) log2(1 − p), exactly 0 at 0 and 1.

    Raises:
        ConfigError: p is not in [0, 1].

    Example:
        >>> binary_entropy(0.5), binary_entropy(0.0), binary_entropy(1.0)
        (1.0, 0.0, 0.0)
    """
    refuse_beyond_one(p, "a probability")
    if p in (0.0, 1.0):
        return 0.0
    return -p * math.log2(p) - (1 - p) * math.log1p(-p) / math.log(2)


def entropy_of_errors(rate: float) -> float:
    """max_{x ≤ rate} h(x): h up to 1/2, and 1 from there on, where h itself would fall and promise a key."""
    return 1.0 if rate >= 0.5 else binary_entropy(rate)


def asymptotic_rate(qber: float, efficiency: float = 1.0) -> float:
    """1 − h(Q) − f h(Q), secret bits a sifted bit of BB84 and BBM92; negative where there is no key.

    Shor & Preskill, quant-ph/0003004, with f for a reconciliation that tells f times Shannon's limit. Zero at Q =
    .1100.

    Args:
        qber: Q, in both bases.
        efficiency: f ≥ 1.
    """
    return 1 - (1 + efficiency) * binary_entropy(qber)


def six_state_rate(qber: float) -> float:
    """1 + (3Q/2) log2(Q/2) + (1 − 3Q/2) log2(1 − 3Q/2), the six-state protocol's; zero at Q = .1262.

    Lo, quant-ph/0102138.

    Raises:
        ConfigError: Q is not in [0, 2/3].
    """
    if not 0 <= qber <= 2 / 3:
        raise ConfigError(f"an error rate of {qber}", "0 to 2/3")
    terms = (3 * (qber / 2,) if qber > 0 else ()) + ((1 - 1.5 * qber,) if qber < 2 / 3 else ())
    return 1 + sum(p * math.log2(p) for p in terms)


def device_independent_rate(qber: float, chsh: float) -> float:
    """1 − h(Q) − h((1 + √((S/2)² − 1))/2): secret bits a key pair when nothing is known of the devices.

    Acín et al., PRL 98, 230501 (2007), quant-ph/0702152: against collective attacks and without end, apart
    from all finite lengths here. It holds only where no pair is left out: with lost photons that are not counted as
    outcomes it proves nothing.

    Args:
        qber: Q of the key pairs.
        chsh: S; at or below 2 nothing is proved and the rate is −h(Q).

    Raises:
        ConfigError: Q is not in [0, 1], or S is beyond Tsirelson's bound 2√2.
    """
    if not chsh <= 2 * math.sqrt(2) * (1 + 1e-12):
        raise ConfigError(f"S = {chsh}", "at most 2√2")
    known = math.sqrt(max((chsh / 2) ** 2 - 1, 0.0))
    return 1 - binary_entropy(qber) - binary_entropy(min((1 + known) / 2, 1.0))


def refuse_beyond_one(p: float, what: str) -> None:
    """Refuses what is no probability.

    Raises:
        ConfigError: p is not in [0, 1].
    """
    if not 0 <= p <= 1:
        raise ConfigError(f"{what} of {p}", "0 to 1")
