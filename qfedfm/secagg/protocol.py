"""A round of secure aggregation in one process: clients and server pass each other bytes, which are counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from qfedfm.core.errors import ConfigError, QfedfmError
from qfedfm.core.summed import Carrier, Direct, Opened
from qfedfm.qkd.entropy import Entropy, System
from qfedfm.secagg.client import Client, Step
from qfedfm.secagg.identity import Identity
from qfedfm.secagg.plan import Plan
from qfedfm.secagg.server import Server

Input = tuple[Int64[np.ndarray, " d"], int]
"""A client's whole numbers and its sample weight."""
Act = Callable[[Client, bytes], bytes]
"""What a client does with a message of the server."""


class Member:
    """A client from round to round, which enters none twice.

    Its place has to be kept with a run that is resumed: a resumed run takes a higher epoch.

    Args:
        client: id.
        identity: its key for signatures.
        publics: the public keys of all clients.
        entropy: of its secrets; None for the operating system.
    """

    def __init__(
        self, client: int, identity: Identity, publics: Mapping[int, bytes], entropy: Entropy | None = None
    ) -> None:
        self.client, self.publics = client, publics
        self._identity, self._entropy = identity, entropy or System()
        self.last = (-1, -1)

    @property
    def randomness(self) -> str:
        """Where its secrets come from."""
        return self._entropy.label

    def join(self, plan: Plan, keys: Mapping[int, bytes] | None = None) -> Client:
        """The client's half of a round.

        Args:
            plan: of the round, later than all before.
            keys: keys of links to other clients, see `Client`.

        Raises:
            ConfigError: a round that has been played or is earlier than one that has.
        """
        place = (plan.epoch, plan.round)
        if place <= self.last:
            given = f"epoch {place[0]}, round {place[1]} after epoch {self.last[0]}, round {self.last[1]}"
            raise ConfigError(given, "a later round", "a round is not repeated: raise the epoch")
        client = Client(plan, self.client, self._identity, self.publics, keys, self._entropy)
        self.last = place
        return client


@dataclass(frozen=True)
class Played:
    """What a round gave and what it cost.

    Args:
        opened: what the server learned.
        uplink: bytes from clients, by step.
        downlink: bytes to clients, by step that they answer.
        seconds: by step, of all clients together; ``server``, ``add`` and ``open`` are the server's.
        refused: why clients were left out, by client.
        randomness: where the clients' secrets come from; it says INSECURE if any of them follow from a seed.
    """

    opened: Opened
    uplink: Mapping[str, int]
    downlink: Mapping[str, int]
    seconds: Mapping[str, float]
    refused: Mapping[int, str]
    randomness: str


class Round:
    """One round with all its parties: `setup`, then `take` for each client that has an input, then `open`.

    Args:
        plan: of the round.
        members: the clients that it invites.
        silent: from which step on a client says nothing more; what is sent to it counts until the server misses it.
        keys: by client, keys of its links to others.
        carrier: of the messages.

    Raises:
        ConfigError: a member has played this round before.
    """

    def __init__(
        self,
        plan: Plan,
        members: Mapping[int, Member],
        *,
        silent: Mapping[int, Step] | None = None,
        keys: Mapping[int, Mapping[int, bytes]] | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        self._server = Server(plan, members[plan.clients[0]].publics)
        self._clients = {client: members[client].join(plan, (keys or {}).get(client)) for client in plan.clients}
        self._silent, self._carrier = silent or {}, carrier or Direct()
        self._delivery: Mapping[int, bytes] = {}
        self._sent: set[int] = set()
        self._left: dict[int, str] = {}
        names = [step.name.lower() for step in Step if step is not Step.OVER]
        self.uplink, self.downlink = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        self.seconds = dict.fromkeys([*names, "server", "add", "open"], 0.0)

    @property
    def refused(self) -> Mapping[int, str]:
        """Why clients were left out so far."""
        return {**self._left, **self._server.refused}

    def setup(self) -> None:
        """Adverts and shares.

        Raises:
            RoundError: too few clients are left.
        """
        adverts = self._step(Step.ADVERTISE, dict.fromkeys(self._clients, b""), lambda client, _: client.advertise())
        with self._timed("server"):
            roster = self._server.advertised(adverts)
        dealt = self._step(Step.SHARE, self._all(roster), Client.share)
        with self._timed("server"):
            self._delivery = self._server.shared(dealt)

    def take(self, client: int, q: Int64[np.ndarray, " d"], weight: int) -> bool:
        """One client's input, masked and added at once; whether it is in the sum.

        Args:
            client: id.
            q: whole numbers.
            weight: sample weight.
        """
        if client not in self._clients:
            return False
        self._sent.add(client)
        message = self._answer(
            client, Step.MASK, self._delivery.get(client), lambda one, received: one.mask(received, q, weight)
        )
        if message is None:
            return False
        with self._timed("add"):
            self._server.masked(client, message)
        return client not in self._server.refused

    def open(self) -> Opened:
        """Survivors, signatures and shares, to the sum.

        Raises:
            RoundError: too few clients are left; nothing is opened.
        """
        self._silent = {**self._silent, **dict.fromkeys(set(self._clients) - self._sent, Step.MASK)}
        for client in sorted(set(self._clients) - self._sent):
            self._answer(client, Step.MASK, self._delivery.get(client), lambda _, received: received)
        with self._timed("server"):
            survivors = self._server.survivors()
        consents = self._step(Step.CONSENT, self._all(survivors), Client.consent)
        with self._timed("server"):
            signed = self._server.consented(consents)
        shares = self._step(Step.REVEAL, self._all(signed), Client.reveal)
        with self._timed("open"):
            return self._server.opened(shares)

    def _all(self, message: bytes) -> dict[int, bytes]:
        """The same message for all who are still there."""
        return dict.fromkeys(self._clients, message)

    def _step(self, step: Step, received: Mapping[int, bytes], act: Act) -> dict[int, bytes]:
        """What the clients that are still there send."""
        answers = {number: self._answer(number, step, received.get(number), act) for number in sorted(self._clients)}
        return {number: message for number, message in answers.items() if message is not None}

    def _answer(self, number: int, step: Step, received: bytes | None, act: Act) -> bytes | None:
        """What the server gets of a client's answer; without one the client is out of the round."""
        answer, name = None, step.name.lower()
        with self._timed(name):
            try:
                arrived = self._deliver(number, name, received)
                if arrived is not None and self._silent.get(number, Step.OVER) > step:
                    sent = act(self._clients[number], arrived)
                    self.uplink[name] += len(sent)
                    answer = self._carrier.up(number, sent)
            except QfedfmError as error:
                self._left[number] = str(error)
        if answer is None:
            del self._clients[number]
        return answer

    def _deliver(self, number: int, name: str, message: bytes | None) -> bytes | None:
        if not message:
            return message
        self.downlink[name] += len(message)
        return self._carrier.down(number, message)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begin


def play(
    plan: Plan,
    members: Mapping[int, Member],
    inputs: Mapping[int, Input],
    *,
    silent: Mapping[int, Step] | None = None,
    keys: Mapping[int, Mapping[int, bytes]] | None = None,
) -> Played:
    """Plays one round.

    Args:
        plan: of the round.
        members: the clients that it invites.
        inputs: theirs.
        silent: from which step on a client says nothing more.
        keys: by client, keys of its links to others.

    Raises:
        RoundError: too few are left at some step.

    Example:
        >>> identities = {client: Identity.new() for client in range(4)}
        >>> publics = {client: identity.public for client, identity in identities.items()}
        >>> members = {client: Member(client, identities[client], publics) for client in range(4)}
        >>> plan = Plan(0, 1, (0, 1, 2, 3), bytes(8), bytes(8), length=2, bound=9, max_weight=5, colluders=1)
        >>> inputs = {client: (np.array([client, -1]), 1 + client) for client in range(4)}
        >>> played = play(plan, members, inputs, silent={2: Step.MASK})
        >>> played.opened.total.tolist(), played.opened.weight, played.opened.survivors
        ([14, -7], 7, (0, 1, 3))
    """
    played = Round(plan, members, silent=silent, keys=keys)
    played.setup()
    for client in plan.clients:
        played.take(client, *inputs[client])
    opened = played.open()
    randomness = "; ".join(dict.fromkeys(members[client].randomness for client in plan.clients))
    return Played(opened, played.uplink, played.downlink, played.seconds, played.refused, randomness)
