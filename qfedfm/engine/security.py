"""``[security]`` of an experiment: where keys come from, which seal they are for, and what that costs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from qfedfm.core import wire
from qfedfm.core.cohort import ClientId
from qfedfm.core.errors import ConfigError
from qfedfm.core.keyring import Account, Keyring
from qfedfm.core.keys import KeySource
from qfedfm.core.registry import build
from qfedfm.core.seals import Seal, added, open_body, seal_body
from qfedfm.core.stack import Bound, Stack
from qfedfm.engine.arm import Arm, PartConfig

if TYPE_CHECKING:
    from qfedfm.engine.setting import Setting

Links = Callable[[str], KeySource]
"""Gives each party, by its name, its end of a source of keys."""
SERVER = "server"


def client_name(client: ClientId) -> str:
    """What a client is called at a source of keys."""
    return f"client-{client}"


class Security(BaseModel):
    """How updates and models are protected on their way.

    Args:
        keys: ``none``: nothing is sealed. ``classical``: X25519 with ML-KEM-768. ``qkd``: keys of links. ``hybrid``:
            those with ML-KEM-768.
        seal: by name or as a table of its name and options; for methods whose layers name none.
        key_bits: that the links can give in one run; a run that may need more is refused before it starts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: Literal["none", "classical", "qkd", "hybrid"] = "none"
    seal: PartConfig = "aes-gcm"
    key_bits: Annotated[int, Field(ge=1, strict=True)] | None = None

    def sealed(self, aggregator: Stack) -> Stack:
        """The aggregator with the seal, unless it has seals of its own or there are no keys."""
        if self.keys == "none" or aggregator.seals:
            return aggregator
        return replace(aggregator, seals=(self.build(),))

    def build(self) -> Seal:
        """The seal.

        Raises:
            ConfigError: it or an option of it is unknown or out of range.
        """
        seal: Seal = build(Seal.kind, self.seal)
        return seal

    def ends(self, name: str, epoch: int, links: Links | None) -> Ends | None:
        """Both ends' keys for one run; None without keys.

        Args:
            name: of the run, whatever tells it from others.
            epoch: of the session.
            links: between server and clients; None for links that are simulated.

        Raises:
            ConfigError: there are links and they are of no use.
        """
        if links is not None and self.keys not in ("qkd", "hybrid"):
            given = f'links of keys beside security.keys = "{self.keys}"'
            raise ConfigError(given, '"qkd" or "hybrid"', "set security.keys, or give no links")
        if self.keys == "none":
            return None
        run = hashlib.sha256(name.encode()).digest()
        return Ends(_source(self.keys, run, epoch, links), run)


def _source(keys: str, run: bytes, epoch: int, links: Links | None) -> Links:
    """Imported here, because agreements need an extra."""
    if keys != "classical" and links is None:
        from qfedfm.qkd.simulated import SimulatedLinks

        links = SimulatedLinks().end
    if keys == "qkd" and links is not None:
        return links
    from qfedfm.qkd.agreed import AgreedLinks
    from qfedfm.qkd.agreement import Suite

    return AgreedLinks(Suite.CLASSICAL if keys == "classical" else Suite.HYBRID, run, epoch, links).end


@dataclass
class Ends:
    """The keyrings of one run: every client's towards the server, and the server's towards every client.

    Args:
        links: each party's source of keys.
        run: bytes that stand for the run.
    """

    links: Links = field(repr=False)
    run: bytes
    account: Account = field(default_factory=Account)
    predicted: int = 0
    """Bits of key that the run needs at most."""
    _rings: dict[tuple[str, str], Keyring] = field(default_factory=dict, repr=False)

    def client(self, client: ClientId) -> Keyring:
        """A client's, towards the server."""
        return self._ring(client_name(client), SERVER)

    def server(self, client: ClientId) -> Keyring:
        """The server's, towards a client."""
        return self._ring(SERVER, client_name(client))

    def _ring(self, party: str, peer: str) -> Keyring:
        if (party, peer) not in self._rings:
            self._rings[party, peer] = Keyring(self.links(party), peer, self.run, self.account)
        return self._rings[party, peer]

    @property
    def label(self) -> str:
        """Where the keys are from."""
        return self.links(SERVER).label

    def plan(self, predicted: int, available: int | None) -> None:
        """Notes how many bits of key the run may need.

        Raises:
            ConfigError: that is more than the links can give.
        """
        if available is not None and predicted > available:
            given = f"a run that may need {predicted} bits of key with {available} to be had"
            raise ConfigError(given, "enough for the run", "use fewer rounds or clients, a smaller codec, or aes-gcm")
        self.predicted = predicted

    def down(self, payload: bytes, header: wire.Frame, bound: Bound) -> tuple[wire.Bytes, int]:
        """Takes a message of the server to one client; what it reads, and the bytes that travelled.

        Args:
            payload: the message, whose own header everybody may read it by.
            header: says which client it is for.
            bound: has the seals.

        Raises:
            KeyShortageError: there is no key for it.
        """
        seals = bound.stack.seals
        sent = wire.frame(seal_body(seals, payload, header, self.server(header.client)), header)
        body, _ = wire.unframe(sent, header, len(payload) + added(seals))
        return open_body(seals, body, header, self.client(header.client)), len(sent)


def check_keys(arm: Arm, aggregator: Stack, ends: Ends | None) -> None:
    """Refuses seals without keys, or with keys that are not good enough for them, and keys without use.

    Raises:
        ConfigError: there is one.
        StackError: a seal needs raw bits of a link.
    """
    if ends is None:
        if aggregator.seals:
            given = f"seal {aggregator.seals[0].name!r} of method {arm.name!r} without keys"
            raise ConfigError(given, "a source of keys", 'set keys in [security], such as "hybrid"')
        return
    if arm.topology is not None:
        given = f"[security] and topology {arm.topology.name!r} of method {arm.name!r}"
        raise ConfigError(given, "clients around one server", "leave [security] out: its messages are not sealed")
    ring = Keyring(ends.links(SERVER), SERVER, ends.run)
    for seal in aggregator.seals:
        if seal.needs_raw:
            ring.require_raw(seal.name)


def predicted_key_bits(stages: Sequence[Setting], rounds: Sequence[int]) -> int:
    """The most bits of key that the stages of a run need, each with its number of rounds.

    A client gets one message and sends one in every round that it is invited to, and under a summed layer some more.
    Their lengths are at most those of the model with the local method's state, and of `Codec.largest`; a seal whose key
    depends on them does not stand above a summed layer.
    """
    total = 0
    for stage, count in zip(stages, rounds, strict=True):
        bound, layout = stage.bound, stage.bound.layout
        messages = count * bound.stack.messages
        clients = len(bound.population)
        state = sum(int(np.asarray(value).size) for value in stage.arm.local.server(layout).values())
        for largest in (bound.stack.codec.largest(layout), 4 * (layout.size + state) + 2 * wire.OVERHEAD):
            length = largest
            for seal in bound.stack.seals:
                each = stage.participation.cohort(clients) * messages * seal.key_bytes(1, length)
                total += 8 * min(each, clients * seal.key_bytes(messages, length))
                length += seal.overhead
    return total
