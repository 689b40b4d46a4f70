"""A round of secure aggregation in one process: clients and server pass each other bytes, which are counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from qfedfm.core.errors import ConfigError, QfedfmError
from qfedfm.qkd.entropy import Entropy
from qfedfm.secagg.client import Client, Step
from qfedfm.secagg.identity import Identity
from qfedfm.secagg.plan import Plan
from qfedfm.secagg.server import Opened, Server

Input = tuple[Int64[np.ndarray, " d"], int]
"""A client's whole numbers and its sample weight."""


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
        self._identity, self._entropy = identity, entropy
        self.last = (-1, -1)

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
        seconds: of all parties together, by step; ``open`` is the server's last step.
        refused: why clients were left out, by client.
    """

    opened: Opened
    uplink: Mapping[str, int]
    downlink: Mapping[str, int]
    seconds: Mapping[str, float]
    refused: Mapping[int, str]


class _Round:
    """Passes messages; clients fall silent at a step that is given, or when they refuse to go on."""

    def __init__(self, server: Server, clients: Mapping[int, Client], silent: Mapping[int, Step]) -> None:
        self.server, self.silent, self.clients = server, silent, dict(clients)
        self.uplink: dict[str, int] = {}
        self.downlink: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.refused: dict[int, str] = {}

    def step(self, step: Step, received: Mapping[int, bytes], act: Callable[[Client], bytes]) -> dict[int, bytes]:
        """What the clients that are still there send."""
        sent = {}
        with _timed(self.seconds, step.name.lower()):
            for number in sorted(self.clients):
                if self.silent.get(number, Step.OVER) <= step or (step and number not in received):
                    del self.clients[number]
                    continue
                try:
                    sent[number] = act(self.clients[number])
                except QfedfmError as error:
                    self.refused[number] = str(error)
                    del self.clients[number]
        self.uplink[step.name.lower()] = sum(map(len, sent.values()))
        self.downlink[step.name.lower()] = sum(len(received[number]) for number in self.clients if step)
        return sent

    def all(self, message: bytes) -> dict[int, bytes]:
        """The same message for all who are still there."""
        return dict.fromkeys(self.clients, message)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - begin


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
    server = Server(plan, members[plan.clients[0]].publics)
    joined = {client: members[client].join(plan, (keys or {}).get(client)) for client in plan.clients}
    game = _Round(server, joined, silent or {})
    adverts = game.step(Step.ADVERTISE, {}, Client.advertise)
    roster = game.all(server.advertised(adverts))
    dealt = game.step(Step.SHARE, roster, lambda client: client.share(roster[client.client]))
    pieces = server.shared(dealt)
    masked = game.step(Step.MASK, pieces, lambda client: client.mask(pieces[client.client], *inputs[client.client]))
    with _timed(game.seconds, "add"):
        for client, message in masked.items():
            server.masked(client, message)
    survivors = game.all(server.survivors())
    consents = game.step(Step.CONSENT, survivors, lambda client: client.consent(survivors[client.client]))
    signed = game.all(server.consented(consents))
    shares = game.step(Step.REVEAL, signed, lambda client: client.reveal(signed[client.client]))
    with _timed(game.seconds, "open"):
        opened = server.opened(shares)
    return Played(opened, game.uplink, game.downlink, game.seconds, {**game.refused, **server.refused})
