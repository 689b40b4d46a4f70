"""A session: from the quantum phase to two equal keys and an account of their cost, or to none and the reason."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from qfedfm.core.errors import AuthenticationError
from qfedfm.qkd.authentication import AuthenticatedChannel
from qfedfm.qkd.channel import ALICE, BOB, Channel
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.estimation import Estimated, estimate
from qfedfm.qkd.exchange import Exchange
from qfedfm.qkd.proof import Epsilon, Length, Observed, Proof, Reason
from qfedfm.qkd.sifting import Rule, sift
from qfedfm.qkd.toeplitz import amplify
from qfedfm.qkd.verification import verify

_NO_BITS = np.zeros(0, np.uint8)


@runtime_checkable
class QuantumPhase(Protocol):
    """A protocol of `qfedfm.qkd`."""

    def exchange(self, pulses: int, link: Any, eavesdropper: Any, entropy: Entropy) -> Exchange:
        """Sends the pulses."""


@runtime_checkable
class Strings(Protocol):
    """What a reconciliation gives."""

    @property
    def alice(self) -> np.ndarray:
        """Her bits, fewer where frames were dropped."""

    @property
    def bob(self) -> np.ndarray:
        """His, corrected."""


@runtime_checkable
class Reconciler(Protocol):
    """Cascade, LDPC."""

    def reconcile(
        self, alice_bits: np.ndarray, bob_bits: np.ndarray, qber: float, channel: Channel, entropy: Entropy
    ) -> Strings:
        """Corrects Bob's bits to Alice's."""


@dataclass(frozen=True)
class Account:
    """What a session saw, told and made; public.

    One that ends early has what was seen until then.

    Args:
        pulses: fixed beforehand.
        clicks: announced by Bob.
        sifted: bits that might have become key.
        seen: in the test; None if the session did not come that far.
        leaked: bits about the key that reconciliation told, and those of frames that it dropped.
        tag: bits that the verification told, which the length subtracts as log2(2/ε_cor).
        authentication: bits of initial key used; 0 on a channel without authentication.
        bits: length of the key.
        epsilon: of this key; None without a key.
        reason: why there is none.
        detail: the same with numbers.
        randomness: where all of it came from.
        proof: by whose proof.
    """

    pulses: int
    randomness: str
    proof: str
    clicks: int = 0
    sifted: int = 0
    seen: Observed | None = None
    leaked: int = 0
    tag: int = 0
    authentication: int = 0
    bits: int = 0
    epsilon: Epsilon | None = None
    reason: Reason | None = None
    detail: str = ""

    @property
    def net(self) -> int:
        """Key made less key used; negative when the session cost more than it gave."""
        return self.bits - self.authentication

    @property
    def qber(self) -> float | None:
        """Of the test; None if there was none."""
        return self.seen.rate if self.seen is not None and self.seen.test else None


@dataclass(frozen=True)
class Outcome:
    """The keys of both parties, equal but with probability ε_cor, empty when there is a reason; and the account."""

    alice: UInt8[np.ndarray, " l"] = field(repr=False)
    bob: UInt8[np.ndarray, " l"] = field(repr=False)
    account: Account


@dataclass
class _Reached:
    """The account of a session under way, which an authentication that fails leaves as it is."""

    account: Account

    def note(self, **found: Any) -> None:
        self.account = replace(self.account, **found)


@dataclass(frozen=True)
class Session:
    """Sifting, estimation, reconciliation, verification and privacy amplification, in this order.

    Args:
        rule: of sifting, as the protocol needs it.
        proof: with everything that must be set beforehand.
        reconciler: Cascade or LDPC.
        errors_public: whether Bob's parities, which together with Alice's say where errors are, count as nothing.
            That is right when Bob measures qubits in perfect Z and X (Tupkary & Lütkenhaus, arXiv 2307.00576: let the
            eavesdropper have all places of errors; a controlled-not between the two qubits shows that the phase
            errors, and so the lengths of the fixed and variable proofs for BB84 and BBM92, do not change). False
            counts both directions.
    """

    rule: Rule
    proof: Proof
    reconciler: Reconciler
    errors_public: bool = False

    def run(
        self, protocol: QuantumPhase, pulses: int, link: Any, eavesdropper: Any, channel: Channel, entropy: Entropy
    ) -> Outcome:
        """One key.

        Args:
            protocol: sends the pulses.
            pulses: how many, whatever comes back.
            link: between the parties.
            eavesdropper: on it.
            channel: the classical one; an `AuthenticatedChannel` for a key that anyone should rely on.
            entropy: of both parties.

        Returns:
            The keys, or none and the reason: too few bits, errors, decoy statistics, a low S, a leak beyond its cap, a
            difference that verification found, a message that was not authentic, or no proof.

        Raises:
            PayloadError: without authentication, a message that was altered may not even have the right form.
            BudgetError: the initial key of the authentication is used up.
        """
        exchange = protocol.exchange(pulses, link, eavesdropper, entropy)
        clicks = len(self.rule.select(exchange.bob))
        reached = _Reached(Account(pulses, entropy.label, self.proof.name, clicks))
        bits, forgery = _spent(channel)
        try:
            outcome = self._process(exchange, reached, channel, entropy)
        except AuthenticationError as error:
            outcome = _none(reached.account, Length(0, Reason.AUTHENTICATION, error.given))
        bits_now, forgery_now = _spent(channel)
        epsilon = outcome.account.epsilon
        if epsilon is not None:
            epsilon = epsilon + Epsilon(0.0, 0.0, forgery_now - forgery)
        return replace(outcome, account=replace(outcome.account, authentication=bits_now - bits, epsilon=epsilon))

    def _process(self, exchange: Exchange, reached: _Reached, channel: Channel, entropy: Entropy) -> Outcome:
        sifted = sift(exchange, self.rule, channel)
        reached.note(sifted=int(sifted.key.sum()))
        tested = estimate(sifted, self.proof.sample, channel, entropy)
        reached.note(seen=tested.seen)
        refusal = self.proof.refusal(tested.seen)
        if refusal is not None:
            return _none(reached.account, refusal)
        return self._distil(tested, reached, channel, entropy)

    def _distil(self, tested: Estimated, reached: _Reached, channel: Channel, entropy: Entropy) -> Outcome:
        """From the key bits to the key."""
        before = len(channel.transcript)
        qber = self.proof.qber(tested.seen)
        strings = self.reconciler.reconcile(tested.alice, tested.bob, qber, channel, entropy)
        counted = (ALICE,) if self.errors_public else (ALICE, BOB)
        leaked = sum(message.leaked for message in channel.transcript[before:] if message.sender in counted)
        leaked += len(tested.alice) - len(strings.alice)
        reached.note(leaked=leaked)
        length = self.proof.length(tested.seen, leaked)
        if length.reason is not None:
            return _none(reached.account, length)
        before = len(channel.transcript)
        equal = verify(strings.alice, strings.bob, self.proof.epsilon.correctness, channel, entropy)
        reached.note(tag=sum(message.leaked for message in channel.transcript[before:]))
        if not equal:
            return _none(reached.account, Length(0, Reason.VERIFICATION, "the tags differ"))
        alice, bob = amplify(strings.alice, strings.bob, length.bits, channel, entropy)
        return Outcome(alice, bob, replace(reached.account, bits=length.bits, epsilon=self.proof.epsilon))


def _none(account: Account, length: Length) -> Outcome:
    return Outcome(_NO_BITS, _NO_BITS, replace(account, reason=length.reason, detail=length.detail))


def _spent(channel: Channel) -> tuple[int, float]:
    """Bits of initial key, and ε_auth, so far."""
    return (channel.consumed, channel.forgery) if isinstance(channel, AuthenticatedChannel) else (0, 0.0)
