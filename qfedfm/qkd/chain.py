"""The whole chain by name: protocol, proof, reconciliation and sizes, all of them set before the first pulse."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from qfedfm.core.errors import ConfigError, nearest
from qfedfm.qkd import plans
from qfedfm.qkd.attack import Attack
from qfedfm.qkd.authentication import AuthenticatedChannel
from qfedfm.qkd.channel import Channel, Message
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.link import Link
from qfedfm.qkd.plans import Plan, Wish
from qfedfm.qkd.proof import Epsilon, Length, Reason
from qfedfm.qkd.session import Outcome, Session
from qfedfm.qkd.telling import Telling

PROTOCOLS: Mapping[str, Callable[[Wish], Iterator[Plan]]] = MappingProxyType(
    {
        "bb84": plans.bb84,
        "weak-bb84": plans.weak_bb84,
        "decoy-bb84": plans.decoy_bb84,
        "b92": plans.b92,
        "bbm92": plans.bbm92,
        "e91": plans.e91,
    }
)
"""By name: single photons, weak pulses without and with decoys, two states, pairs, pairs with a Bell test."""
TWO_BASES = ("bb84", "decoy-bb84", "bbm92")
"""Protocols whose keys come from one basis and whose test from the other."""
FEWEST = 1000
"""Pulses: with fewer nothing can be tested."""
MOST = 2**32 - 1
"""Pulses of one run: their numbers take four bytes in messages."""
_INITIAL_KEY = 1 << 16
"""Bytes for authentication on either side; only what is used is counted."""


@dataclass(frozen=True)
class Chain:
    """A protocol with everything that follows it, for one link and one number of pulses.

    Args:
        protocol: its name.
        plan: the choice of `plans` with the longest key.
        session: sifting to privacy amplification.
        pulses: fixed.
        link: between the parties.
    """

    protocol: str
    plan: Plan
    session: Session
    pulses: int
    link: Link

    @property
    def promised(self) -> Length:
        """The key's length if all comes as expected and reconciliation tells what it may."""
        length = self.plan.proof.length(self.plan.expected, self.plan.leak)
        return replace(length, reason=Reason.TOO_FEW_BITS) if length.reason is Reason.LEAK else length

    @property
    def promised_rate(self) -> float:
        """Its bits a pulse, 0 if there is none; authentication is not taken off."""
        return self.promised.bits / self.pulses

    def run(self, attack: Attack, entropy: Entropy, channel: Channel | None = None) -> Outcome:
        """One key over an authenticated channel; see `Session.run`, and `authenticated`, whose start is paid here.

        Args:
            attack: on it.
            entropy: of both parties, and of their initial key.
            channel: another channel than `authenticated` gives, which then knows of the attack already.

        Raises:
            BudgetError: the initial key is used up.
            ConfigError: the attack does not fit the protocol, or there are 2³² pulses or more.
        """
        if self.pulses > MOST:
            raise ConfigError(f"{self.pulses} pulses to simulate", f"at most {MOST}", "run several, or theory alone")
        fresh = authenticated(entropy, attack.between)
        over = channel or fresh
        done = self.session.run(self.plan.phase, self.pulses, self.link, attack.eavesdropper, over, entropy)
        return done if channel else replace(done, account=replace(done.account, authentication=fresh.consumed))


def authenticated(entropy: Entropy, between: Callable[[Message], bytes] | None = None) -> AuthenticatedChannel:
    """A channel whose ends hold a fresh initial key.

    Args:
        entropy: of the key.
        between: sees what really travels and may alter it.
    """
    secret = entropy.bytes(_INITIAL_KEY)
    return AuthenticatedChannel(Channel(between), secret, secret)


def chain(
    protocol: str,
    pulses: int,
    link: Link,
    reconciliation: str = "ldpc",
    *,
    variable: bool = False,
    p_z: float | None = None,
    epsilon: Epsilon = Epsilon(1e-10, 1e-15),  # noqa: B008 (frozen)
) -> Chain:
    """The chain of a protocol, with the probabilities, sizes and tolerances that promise the longest key.

    They follow from the link and the pulses alone: what the parties see later changes none of them, as proofs of fixed
    length ask. Sizes stay four standard deviations below, tolerances as many above what is expected, so that chance
    aborts hardly any honest run.

    Args:
        protocol: one of `PROTOCOLS`.
        pulses: to send, at least `FEWEST`.
        link: between the parties.
        reconciliation: ``ldpc`` or ``cascade``.
        variable: whether the length may follow from what is seen, by a proof of variable length: BB84, BBM92, decoys.
        p_z: of the basis that keys are made of, for the same protocols; None for what promises most.
        epsilon: ε_sec and ε_cor of a key.

    Raises:
        ConfigError: an unknown name, too few pulses, no proof of variable length or no such basis for the protocol.

    Example:
        >>> found = chain("bb84", 1_000_000, Link(distance=10.0, efficiency=0.5, misalignment=0.01))
        >>> found.promised.reason is None, 0 < found.promised_rate < found.plan.asymptotic
        (True, True)
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol {protocol!r}", "a known one", nearest(protocol, PROTOCOLS))
    if pulses < FEWEST:
        raise ConfigError(f"{pulses} pulses", f"at least {FEWEST}", "a key takes some hundred thousand on a short link")
    if variable and protocol not in TWO_BASES:
        raise ConfigError(f"a key of variable length from {protocol}", f"one of {', '.join(TWO_BASES)}")
    if p_z is not None and protocol not in TWO_BASES:
        raise ConfigError(f"a p_z of {p_z} for {protocol}", f"one of {', '.join(TWO_BASES)}")
    telling = Telling(reconciliation)
    wish = Wish(pulses, link, telling, variable, epsilon, plans.P_Z if p_z is None else (p_z,))
    plan = max(PROTOCOLS[protocol](wish), key=_worth)
    bits, rate = plan.expected.key, plan.proof.qber(plan.expected)
    session = Session(plan.rule, plan.proof, telling.reconciler(bits, rate), plan.errors_public)
    return Chain(protocol, plan, session, pulses, link)


def _worth(plan: Plan) -> float:
    """Bits of key, or how far they are from any."""
    exact = plan.proof.length(plan.expected, plan.leak).exact
    return exact if math.isfinite(exact) else -math.inf
