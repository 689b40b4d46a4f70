"""The client's half of a round of secure aggregation: five messages out, four in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from jaxtyping import Int64

from qfedfm.core.body import Reader
from qfedfm.core.errors import ConfigError, PayloadError, RoundError
from qfedfm.qkd.entropy import Entropy, System
from qfedfm.secagg.agreement import PUBLIC, Pair, exchange, pair, unseal
from qfedfm.secagg.identity import Identity
from qfedfm.secagg.keystream import KEY, add_masks
from qfedfm.secagg.messages import Kind, read, read_ids, read_messages, read_signed, write
from qfedfm.secagg.plan import Plan
from qfedfm.secagg.shares import ESCROW, HASH, KINDS, MASK, SEALED, Piece, check_share, deal, holders
from qfedfm.secagg.topology import Topology
from qfedfm.secagg.transcript import ADVERT, NONCE, Transcript, require, weak


class Step(IntEnum):
    """What a client does next."""

    ADVERTISE, SHARE, MASK, CONSENT, REVEAL, OVER = range(6)


class Client:
    """One client in one round; made by `Member.join`, which does not enter a round twice.

    Bonawitz et al., CCS 2017, eprint 2017/281, figure 4 with its consistency check. The client sends

        y_u = w_u (q_u ‖ 1) + PRG(b_u) + Σ_{v > u} PRG(r_uv) − Σ_{v < u} PRG(r_uv)   mod 2^b

    over its neighbours v, and later helps to open b_v of the survivors and the r_vw of those who dropped out, never
    both for one client.

    Differs from the paper: keys of 256 bits expand to masks; the r_uv are recovered from an escrow that is sealed under
    a shared key, in the place of a shared key for a key agreement, so that keys which come from a link work as well;
    shares and mask keys are committed to; a quorum of signatures is asked for beside the threshold of shares.

    A step that raises ends the round for this client: it forgets its secrets. Python cannot wipe memory; copies may
    live on until it is reused.

    Args:
        plan: of the round.
        client: own id.
        identity: own key for signatures.
        publics: the public keys of all clients, known beforehand.
        keys: a key of at least 32 bytes for each other client that both ends of the link have, for this round only;
            where the plan's topology says that there are any.
        entropy: of all secrets.

    Raises:
        ConfigError: a client that is not invited, an identity whose public key is another, a key too short or missing.
    """

    def __init__(
        self,
        plan: Plan,
        client: int,
        identity: Identity,
        publics: Mapping[int, bytes],
        keys: Mapping[int, bytes] | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        if client not in plan.clients or not set(plan.clients) <= set(publics):
            raise ConfigError(f"client {client} of {plan.clients}", "an invited one, and a public key of each")
        if publics[client] != identity.public:
            raise ConfigError(f"another identity than client {client}'s", "the one whose public key all know")
        if any(len(key) < KEY for key in (keys or {}).values()):
            raise ConfigError("a key of a link that is too short", f"at least {KEY} bytes")
        self.plan, self.client = plan, client
        self.step = Step.ADVERTISE
        self._identity, self._publics, self._entropy = identity, publics, entropy or System()
        self._keys = dict(keys or {})
        self._private: X25519PrivateKey | None = None
        self._advert = self._mask = b""
        self._pairs: dict[int, Pair] = {}
        self._pieces: dict[int, Piece] = {}
        self._dealt: tuple[int, ...] = ()
        self._survivors: tuple[int, ...] = ()
        self._transcript = Transcript(b"", {})

    def __repr__(self) -> str:
        return f"Client({self.client}, epoch {self.plan.epoch}, round {self.plan.round}, next: {self.step.name})"

    def advertise(self) -> bytes:
        """The first message: a fresh nonce and a fresh public value."""
        with self._turn(Step.ADVERTISE):
            public = bytes(PUBLIC)
            if self.plan.agreement:
                self._private = X25519PrivateKey.from_private_bytes(self._entropy.bytes(KEY))
                public = self._private.public_key().public_bytes_raw()
            self._advert = self._entropy.bytes(NONCE) + public
            return self._send(Kind.ADVERT, self._advert, Step.SHARE)

    def share(self, roster: bytes) -> bytes:
        """Answers the adverts of all: commitments, and a share of both secrets for each neighbour.

        Raises:
            RoundError: out of turn, or too few clients.
            PayloadError: an advert is not signed by its client, or the own one is another.
            ConfigError: no key for the link to a neighbour.
        """
        with self._turn(Step.SHARE):
            bodies = self._signed(read(self.plan, Kind.ROSTER, roster), Kind.ADVERT, self.plan.clients, ADVERT)
            if bodies.get(self.client) != self._advert:
                raise PayloadError("adverts with another one than this client's own", "the one that it sent")
            for other in weak(self.plan, bodies):
                del bodies[other]
            self._transcript = Transcript.of(self.plan, bodies)
            self._pairs = {other: self._agree(other, bodies[other][NONCE:]) for other in self._neighbours}
            self._private, self._keys = None, {}
            self._mask = self._entropy.bytes(KEY)
            context, threshold = self._transcript.context, self.plan.threshold
            dealt, own = deal(context, self.client, self._pairs, self._mask, threshold, self._entropy)
            self._pieces = {self.client: own}
            return self._send(Kind.SHARES, dealt.pack(), Step.MASK)

    def mask(self, delivery: bytes, q: Int64[np.ndarray, " d"], weight: int) -> bytes:
        """Answers the shares of the neighbours with the masked input.

        Args:
            delivery: from the server.
            q: own whole numbers, not yet multiplied.
            weight: own sample weight.

        Raises:
            RoundError: out of turn, too few clients, or too few holders of the own shares.
            PayloadError: a share was altered or contradicts its commitment, or numbers or weight are beyond the plan.
        """
        with self._turn(Step.MASK):
            plan = self.plan
            self._fits(q, weight)
            self._keep(read(plan, Kind.DELIVERY, delivery))
            total = np.empty(plan.length + 1, plan.ring.dtype)
            total[:-1], total[-1] = plan.ring.elements(q), 1
            total *= total.dtype.type(weight)
            shared = {other: self._pairs[other].mask for other in self._neighbours if other in self._dealt}
            above = [key for other, key in shared.items() if other > self.client]
            below = [key for other, key in shared.items() if other < self.client]
            add_masks(total, [self._mask, *above], below, plan.stream)
            self._pairs, self._mask = {}, b""
            return self._send(Kind.MASKED, total.view(np.uint8).data, Step.CONSENT)

    def consent(self, survivors: bytes) -> bytes:
        """Signs the set of survivors: one set in a round.

        Raises:
            RoundError: out of turn or a second set, too few survivors, or too few holders of the own shares among them.
            PayloadError: the set holds a client that dealt no shares, or lacks this one.
        """
        if self._survivors:
            self._burn()
            given = f"a second set of survivors for client {self.client}"
            raise RoundError(given, "one a round", "leave this server: two sets would open single updates")
        with self._turn(Step.CONSENT):
            reader = read(self.plan, Kind.SURVIVORS, survivors)
            self._survivors = read_ids(reader, self._dealt)
            reader.end()
            self._enough(self._survivors, "survived")
            return self._send(Kind.CONSENT, self._transcript.statement(self._dealt, self._survivors), Step.REVEAL)

    def reveal(self, consents: bytes) -> bytes:
        """Gives shares once a quorum has signed the survivors: of their self masks, and of the escrow of all others.

        Raises:
            RoundError: out of turn, or too few signatures.
            PayloadError: a signature that is not under this set.
        """
        with self._turn(Step.REVEAL):
            statement = self._transcript.statement(self._dealt, self._survivors)
            signed = self._signed(read(self.plan, Kind.CONSENTS, consents), Kind.CONSENT, self._survivors, HASH)
            for client, body in signed.items():
                if body != statement:
                    given = f"another set of survivors, signed by client {client}"
                    raise PayloadError(given, f"the one that client {self.client} signed")
            if len(signed) < self.plan.quorum:
                raise RoundError(f"{len(signed)} signatures under the survivors", f"at least {self.plan.quorum}")
            kinds = {owner: MASK if owner in self._survivors else ESCROW for owner in sorted(self._pieces)}
            body = b"".join(self._pieces[owner].of(kind) for owner, kind in kinds.items())
            return self._send(Kind.REVEAL, body, Step.OVER)

    @property
    def _neighbours(self) -> tuple[int, ...]:
        return self._transcript.neighbours[self.client]

    def _agree(self, other: int, public: bytes) -> Pair:
        if self.plan.topology is not Topology.NONE and other not in self._keys:
            given = f"no key for the link between clients {self.client} and {other}"
            raise ConfigError(given, f"one from the {self.plan.topology.value} of keys")
        exchanged = b"" if self._private is None else exchange(self._private, public)
        return pair(self._transcript.context, self.client, other, exchanged, self._keys.get(other, b""))

    def _fits(self, q: Int64[np.ndarray, " d"], weight: int) -> None:
        plan = self.plan
        largest = max(int(q.max(initial=0)), -int(q.min(initial=0)))
        if len(q) != plan.length or largest > plan.bound or not 1 <= weight <= plan.max_weight:
            given = f"{len(q)} numbers to ±{largest} of weight {weight}"
            raise PayloadError(given, f"{plan.length} to ±{plan.bound} of a weight from 1 to {plan.max_weight}")

    def _keep(self, reader: Reader) -> None:
        """Opens the neighbours' pieces and holds them against the commitments."""
        context = self._transcript.context
        self._dealt = read_ids(reader, self._transcript.neighbours)
        for owner in self._neighbours:
            if owner in self._dealt:
                committed, sealed = bytes(reader.take(2 * HASH)), bytes(reader.take(SEALED))
                what = f"a share of client {owner} for client {self.client}"
                piece = Piece.read(unseal(self._pairs[owner].receiving, sealed, context, what))
                for kind in KINDS:
                    check_share(context, kind, owner, self.client, piece.of(kind), committed)
                self._pieces[owner] = piece
        reader.end()
        self._enough(self._dealt, "dealt shares")

    def _enough(self, clients: tuple[int, ...], what: str) -> None:
        require(self.plan, clients, what)
        if self.client not in clients:
            raise PayloadError(f"those who {what} without client {self.client}", "a set with this client")
        left = len(set(holders(self.client, self._neighbours)) & set(clients))
        if left < self.plan.threshold:
            given = f"{left} holders of client {self.client}'s shares {what}"
            raise RoundError(given, f"at least {self.plan.threshold}")

    def _signed(self, reader: Reader, kind: Kind, allowed: Iterable[int], length: int) -> dict[int, bytes]:
        """The bodies of other clients' messages, each signed by its client."""
        messages = read_messages(reader, self._publics, allowed, length)
        return {
            client: bytes(read_signed(self.plan, kind, client, message, length, self._publics[client]))
            for client, message in messages.items()
        }

    @contextmanager
    def _turn(self, step: Step) -> Iterator[None]:
        """A step that does not get as far as its message ends the round for this client."""
        if self.step is not step:
            given = f"{step.name.lower()} at client {self.client}"
            raise RoundError(given, f"{self.step.name.lower()}", "a round is played once, in its order")
        self.step = Step.OVER
        try:
            yield
        finally:
            if self.step is Step.OVER:
                self._burn()

    def _send(self, kind: Kind, body: bytes | memoryview, then: Step) -> bytes:
        message = write(self.plan, kind, self.client, body, self._identity)
        self.step = then
        return message

    def _burn(self) -> None:
        self._private, self._keys, self._pairs, self._pieces, self._mask = None, {}, {}, {}, b""
        self.step = Step.OVER
