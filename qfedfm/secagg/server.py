"""The server's half of a round of secure aggregation: it adds masked inputs as they come, and opens their sum only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import UInt

from qfedfm.core.body import Reader
from qfedfm.core.errors import ConfigError, PayloadError, RoundError
from qfedfm.core.summed import Opened
from qfedfm.secagg.agreement import mask_commitment, unseal
from qfedfm.secagg.keystream import KEY, add_masks
from qfedfm.secagg.messages import SERVER, Kind, pack_ids, pack_messages, read_signed, write
from qfedfm.secagg.plan import Plan
from qfedfm.secagg.shamir import join
from qfedfm.secagg.shares import ESCROW, HASH, MASK, REVEALED, Dealt, check_share, holders
from qfedfm.secagg.transcript import ADVERT, Transcript, require, weak


class Server:
    """The server in one round; see `Client` for the protocol.

    A message that is malformed, altered or not the client's own counts as none, and so does an advert that is `weak`:
    the client is a dropout from there on, and `refused` says why. It cannot see whether a client used the mask that it
    should have used on an input: a wrong mask looks like an arbitrary input, and the sum is then arbitrary too;
    `opened` refuses sums that no inputs give.

    Args:
        plan: of the round.
        publics: the public keys of all clients.

    Raises:
        ConfigError: a public key is missing.
    """

    def __init__(self, plan: Plan, publics: Mapping[int, bytes]) -> None:
        if not set(plan.clients) <= set(publics):
            raise ConfigError(f"public keys of {len(publics)} clients", f"one of each of {plan.clients}")
        self.plan, self._publics = plan, publics
        self.refused: dict[int, str] = {}
        self._transcript = Transcript(b"", {})
        self._dealt: dict[int, Dealt] = {}
        self._survivors: tuple[int, ...] = ()
        self._arrived: set[int] = set()
        self._total = np.zeros(plan.length + 1, plan.ring.dtype)

    def advertised(self, messages: Mapping[int, bytes]) -> bytes:
        """Adverts by client, to what goes to all of them.

        Raises:
            RoundError: a second call, or too few.
        """
        self._once(not self._transcript.neighbours)
        bodies = self._bodies(Kind.ADVERT, messages, self.plan.clients, dict.fromkeys(self.plan.clients, ADVERT))
        for client in weak(self.plan, bodies):
            self.refused[client] = "advertised a public value of small order"
            del bodies[client]
        self._transcript = Transcript.of(self.plan, bodies)
        return write(self.plan, Kind.ROSTER, SERVER, pack_messages({client: messages[client] for client in bodies}))

    def shared(self, messages: Mapping[int, bytes]) -> dict[int, bytes]:
        """Commitments and sealed shares by client, to what goes to each of them.

        Raises:
            RoundError: a second call, or too few.
        """
        self._once(not self._dealt)
        neighbours = self._transcript.neighbours
        lengths = {client: Dealt.length(len(others)) for client, others in neighbours.items()}
        dealt = {
            client: Dealt.read(Reader(body), client, neighbours[client])
            for client, body in self._bodies(Kind.SHARES, messages, neighbours, lengths).items()
        }
        self._dealt = self._agreeing(dealt)
        require(self.plan, self._dealt, "dealt shares")
        return {client: write(self.plan, Kind.DELIVERY, SERVER, self._delivery(client)) for client in self._dealt}

    def masked(self, client: int, message: bytes) -> None:
        """Adds one masked input; it need not be kept.

        Raises:
            RoundError: out of turn.
        """
        self._once(bool(self._dealt) and not self._survivors)
        ring, length = self.plan.ring, self.plan.length + 1
        lengths = {client: length * ring.dtype.itemsize}
        awaited = set(self._dealt) - self._arrived
        for body in self._bodies(Kind.MASKED, {client: message}, awaited, lengths).values():
            self._total += np.frombuffer(body, ring.dtype)
            self._arrived.add(client)

    def survivors(self) -> bytes:
        """Ends the step of masked inputs: the set that all survivors sign.

        Raises:
            RoundError: a second call, or too few.
        """
        self._once(bool(self._dealt) and not self._survivors)
        require(self.plan, self._arrived, "sent masked inputs")
        self._survivors = tuple(sorted(self._arrived))
        return write(self.plan, Kind.SURVIVORS, SERVER, pack_ids(self._survivors))

    def consented(self, messages: Mapping[int, bytes]) -> bytes:
        """Signatures by client, to what goes to all survivors.

        Raises:
            RoundError: out of turn, or less than a quorum.
        """
        self._once(bool(self._survivors))
        statement = self._transcript.statement(self._dealt, self._survivors)
        bodies = self._bodies(Kind.CONSENT, messages, self._survivors, dict.fromkeys(self._survivors, HASH))
        for client, body in bodies.items():
            if body != statement:
                self.refused[client] = "signed another set of survivors"
        signed = {client: messages[client] for client, body in bodies.items() if body == statement}
        if len(signed) < self.plan.quorum:
            raise RoundError(f"{len(signed)} signatures under the survivors", f"at least {self.plan.quorum}")
        return write(self.plan, Kind.CONSENTS, SERVER, pack_messages(signed))

    def opened(self, messages: Mapping[int, bytes]) -> Opened:
        """Shares by client, to the sum: self masks of survivors and pair masks with dropouts are taken off.

        Raises:
            RoundError: out of turn, too few shares of a secret, one that contradicts its commitment, or a sum that no
                inputs within the plan can give.
        """
        self._once(bool(self._survivors))
        shares = self._shares(messages)
        total = self._total.copy()
        add_masks(total, [], [self._own_mask(owner, shares) for owner in self._survivors], self.plan.stream)
        for owner in sorted(set(self._dealt) - set(self._survivors)):
            keys = self._pair_masks(owner, shares)
            above = [key for other, key in keys.items() if other > owner]
            below = [key for other, key in keys.items() if other < owner]
            add_masks(total, above, below, self.plan.stream)
        return self._result(total)

    def _delivery(self, client: int) -> bytes:
        owners = [owner for owner in self._transcript.neighbours[client] if owner in self._dealt]
        dealt = [self._dealt[owner] for owner in owners]
        return pack_ids(sorted(self._dealt)) + b"".join(one.commitments[client] + one.sealed[client] for one in dealt)

    def _agreeing(self, dealt: Mapping[int, Dealt]) -> dict[int, Dealt]:
        """Without clients whose keys of a pair differ from the other's, those with the most such pairs first."""
        left = dict(dealt)
        while True:
            differ = Counter(
                client
                for client, one in left.items()
                for other, committed in one.pairs.items()
                if other in left and left[other].pairs[client] != committed
            )
            if not differ:
                return left
            worst = max(differ.values())
            for client in [client for client, count in differ.items() if count == worst]:
                self.refused[client] = f"has other mask keys than {worst} of its neighbours"
                del left[client]

    def _shares(self, messages: Mapping[int, bytes]) -> dict[int, dict[int, bytes]]:
        """Shares by owner and point: of its self mask where it survived, of its escrow where not."""
        owned = {
            client: [owner for owner in holders(client, self._transcript.neighbours[client]) if owner in self._dealt]
            for client in self._survivors
        }
        lengths = {client: REVEALED * len(owners) for client, owners in owned.items()}
        found: dict[int, dict[int, bytes]] = {owner: {} for owner in self._dealt}
        for client, body in self._bodies(Kind.REVEAL, messages, self._survivors, lengths).items():
            opened = [bytes(body[start : start + REVEALED]) for start in range(0, len(body), REVEALED)]
            shares = dict(zip(owned[client], opened, strict=True))
            try:
                self._check(client, shares)
            except PayloadError as error:
                self.refused[client] = str(error)
                continue
            for owner, share in shares.items():
                point = holders(owner, self._transcript.neighbours[owner]).index(client) + 1
                found[owner][point] = share[:KEY]
        return found

    def _check(self, holder: int, shares: Mapping[int, bytes]) -> None:
        for owner, opened in shares.items():
            kind = MASK if owner in self._survivors else ESCROW
            committed = self._dealt[owner].commitments[holder]
            check_share(self._transcript.context, kind, owner, holder, opened, committed)

    def _secret(self, owner: int, kind: bytes, shares: Mapping[int, Mapping[int, bytes]]) -> bytes:
        found, needed = shares[owner], self.plan.threshold
        if len(found) < needed:
            given = f"{len(found)} shares of the {kind.decode()} of client {owner}"
            raise RoundError(given, f"at least {needed}", "give the round up; nothing has been opened")
        return join(found, needed)

    def _committed(self, owner: int, key: bytes, committed: bytes) -> None:
        if mask_commitment(self._transcript.context, key) != committed:
            given = f"shares of client {owner} that give another key than it committed to"
            raise RoundError(given, "its own", "give the round up, and leave that client out of the next")

    def _own_mask(self, owner: int, shares: Mapping[int, Mapping[int, bytes]]) -> bytes:
        key = self._secret(owner, MASK, shares)
        self._committed(owner, key, self._dealt[owner].mask)
        return key

    def _pair_masks(self, owner: int, shares: Mapping[int, Mapping[int, bytes]]) -> dict[int, bytes]:
        """Keys of the masks that survivors share with a client that dropped out, by survivor."""
        neighbours, dealt = self._transcript.neighbours[owner], self._dealt[owner]
        try:
            what = f"the escrow of client {owner}"
            keys = unseal(self._secret(owner, ESCROW, shares), dealt.escrow, self._transcript.context + ESCROW, what)
        except PayloadError as error:
            raise RoundError(error.given, error.expected, "give the round up, and leave that client out") from None
        found = {other: keys[KEY * place : KEY * (place + 1)] for place, other in enumerate(neighbours)}
        for other, key in found.items():
            if other in self._survivors:
                self._committed(owner, key, dealt.pairs[other])
        return {other: key for other, key in found.items() if other in self._survivors}

    def _result(self, total: UInt[np.ndarray, " d"]) -> Opened:
        numbers = self.plan.ring.integers(total)
        sums, weight, n = numbers[:-1], int(numbers[-1]), len(self._survivors)
        largest = max(int(sums.max()), -int(sums.min()))
        if not n <= weight <= n * self.plan.max_weight or largest > weight * self.plan.bound:
            given = f"a sum to ±{largest} of weight {weight} over {n} clients"
            expected = f"a weight from {n} to {n * self.plan.max_weight} and numbers to ±{self.plan.bound} times that"
            raise RoundError(given, expected, "some client masked otherwise than it stated; which, is hidden as well")
        return Opened(sums, weight, self._survivors)

    def _bodies(
        self, kind: Kind, messages: Mapping[int, bytes], allowed: Iterable[int], lengths: Mapping[int, int]
    ) -> dict[int, memoryview]:
        """The bodies of the messages that are what they should be; those of others are refused."""
        known = set(allowed)
        found: dict[int, memoryview] = {}
        for client in sorted(messages):
            try:
                if client not in known:
                    raise PayloadError(f"{kind.name} from client {client}", f"from one of {sorted(known)}, once")
                found[client] = read_signed(
                    self.plan, kind, client, messages[client], lengths[client], self._publics[client]
                )
            except PayloadError as error:
                self.refused[client] = str(error)
        return found

    @staticmethod
    def _once(turn: bool) -> None:
        if not turn:
            raise RoundError("a message of the server out of turn", "each step once, in its order")
