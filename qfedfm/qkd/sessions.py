"""Keys that came out of sessions over links with physics, for parties in one process."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from qfedfm.core.errors import BudgetError, ConfigError, KeyShortageError, KeyUnknownError
from qfedfm.core.keys import KeyId
from qfedfm.qkd.authentication import AuthenticatedChannel
from qfedfm.qkd.channel import ALICE, BOB, Channel, Message
from qfedfm.qkd.session import Account, Outcome

LABEL = "simulated, not QKD-secure"


@dataclass(frozen=True)
class Ran:
    """One session; public.

    Args:
        alice: the party that sent the pulses.
        bob: the other one.
        account: of the session.
        bytes: that passed on the classical channel.
    """

    alice: str
    bob: str
    account: Account
    bytes: int


@dataclass
class _Store:
    """What both ends of one link hold."""

    initial: dict[str, bytes] = field(repr=False)
    keys: dict[str, bytes] = field(default_factory=lambda: {ALICE: b"", BOB: b""}, repr=False)


@dataclass
class SessionLinks:
    """A link between any two parties; a session runs over it whenever its store holds too few bits for a key.

    Both ends store what the session gave *them*. Of every key as many bits as the authentication of its session used
    go back into the initial key, so that what is stored is net; a session that gives none uses up initial key for
    nothing, as on a real link.

    Args:
        session: runs one between Alice and Bob, named in this order, over the channel.
        capacity: bits that a store holds at most, a multiple of 8; what a session gives beyond that is discarded. None
            for all.
        initial: bytes of key that both ends of a link share before its first session.
        between: who sits on the classical channel of Alice and Bob, see `Channel`; None for nobody.

    Raises:
        ConfigError: a capacity that is no multiple of 8, or (in `fresh`) too small for the key.
        KeyShortageError: (in `fresh`) the session gave no key, or less than its authentication used.

    Example:
        >>> from qfedfm.qkd.proof import Reason
        >>> def aborts(alice, bob, channel):
        ...     none = np.zeros(0, np.uint8)
        ...     return Outcome(none, none, Account(10, "x", "y", reason=Reason.ERRORS, detail="0.25 in the test"))
        >>> SessionLinks(aborts).end("a").fresh("b", 32)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        qfedfm.core.errors.KeyShortageError: no key from the link of a and b: error rate too high; expected a key; ...
    """

    session: Callable[[str, str, Channel], Outcome]
    capacity: int | None = None
    initial: int = 1 << 14
    between: Callable[[str, str], Callable[[Message], bytes] | None] | None = None
    ran: list[Ran] = field(default_factory=list, init=False)
    taken: int = field(default=0, init=False)
    """Bits that have become keys of parties."""
    seconds: float = field(default=0.0, init=False)
    """That simulating took here, which says nothing of a link."""
    _stores: dict[tuple[str, str], _Store] = field(default_factory=dict, init=False, repr=False)
    _waiting: dict[tuple[str, str, KeyId], bytes] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.capacity is not None and (self.capacity < 8 or self.capacity % 8):
            raise ConfigError(f"a store of {self.capacity} bits", "a positive multiple of 8")

    def end(self, party: str) -> SessionKeys:
        """The end of one party."""
        return SessionKeys(self, party)

    def make(self, initiator: str, responder: str, size: int) -> tuple[KeyId, bytes]:
        """A new key of so many bytes; the responder's waits under its id."""
        if self.capacity is not None and 8 * size > self.capacity:
            remedy = "take a larger store, or a seal that needs less"
            raise ConfigError(f"a key of {8 * size} bits from a store of {self.capacity}", "room for a key", remedy)
        alice, bob = sorted((initiator, responder))
        store = self._stores.setdefault((alice, bob), self._begun())
        while len(store.keys[ALICE]) < size:
            self._refill(alice, bob, store)
        cut = {end: keys[:size] for end, keys in store.keys.items()}
        store.keys = {end: keys[size:] for end, keys in store.keys.items()}
        ours, theirs = (ALICE, BOB) if initiator == alice else (BOB, ALICE)
        key_id = str(uuid.uuid4())
        self._waiting[initiator, responder, key_id] = cut[theirs]
        self.taken += 8 * size
        return key_id, cut[ours]

    def _begun(self) -> _Store:
        secret = os.urandom(self.initial)
        return _Store({ALICE: secret, BOB: secret})

    def _refill(self, alice: str, bob: str, store: _Store) -> None:
        """One session."""
        expected, clock = "a key", time.perf_counter()
        initial, store.initial = store.initial, {ALICE: b"", BOB: b""}  # burnt if anything fails on the way
        try:
            inner = Channel(None if self.between is None else self.between(alice, bob))
            channel = AuthenticatedChannel(inner, initial[ALICE], initial[BOB])
            outcome = self.session(alice, bob, channel)
        except BudgetError as error:
            given = f"no key from the link of {alice} and {bob}: {error.given}"
            raise KeyShortageError(given, expected, "give the link a new initial key") from None
        finally:
            self.seconds += time.perf_counter() - clock
        account = outcome.account
        self.ran.append(Ran(alice, bob, account, channel.bytes))
        owed, capacity = account.authentication // 8, self.capacity
        for end, bits in ((ALICE, outcome.alice), (BOB, outcome.bob)):
            made = _whole_bytes(bits)
            store.initial[end] = channel.rest(end) + made[:owed]
            store.keys[end] = (store.keys[end] + made[owed:])[: None if capacity is None else capacity // 8]
        if account.reason is not None:
            given = f"no key from the link of {alice} and {bob}: {account.reason.value}"
            raise KeyShortageError(given, expected, "look for whoever disturbs the link")
        if account.net < 8:
            given = f"{account.bits} bits from the link of {alice} and {bob}, {account.authentication} of them owed"
            raise KeyShortageError(given, "more than authentication takes", "send more pulses a session")

    def take(self, initiator: str, responder: str, key_id: KeyId) -> bytes:
        """The key that waits for the responder, which is then gone."""
        key = self._waiting.pop((initiator, responder, key_id), None)
        if key is None:
            raise KeyUnknownError(f"key {key_id} from {initiator} for {responder}", "one that waits, taken once")
        return key


def _whole_bytes(bits: UInt8[np.ndarray, " l"]) -> bytes:
    return np.packbits(bits[: len(bits) // 8 * 8]).tobytes()


@dataclass(frozen=True)
class SessionKeys:
    """One party's end of `SessionLinks`: a `RawKeySource`."""

    links: SessionLinks = field(repr=False)
    party: str

    @property
    def label(self) -> str:
        return LABEL

    @property
    def secret(self) -> bool:
        return True

    @property
    def raw(self) -> bool:
        return True

    def fresh(self, peer: str, size: int) -> tuple[KeyId, bytes]:
        return self.links.make(self.party, peer, size)

    def by_id(self, peer: str, key_id: KeyId) -> bytes:
        return self.links.take(peer, self.party, key_id)
