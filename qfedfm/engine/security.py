"""``[security]`` of an experiment: where keys come from, which seal they are for, and what that costs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from qfedfm.core import wire
from qfedfm.core.cohort import ClientId
from qfedfm.core.errors import ConfigError
from qfedfm.core.keyring import Account, Keyring
from qfedfm.core.registry import build
from qfedfm.core.seals import Seal, added, open_body, seal_body
from qfedfm.core.stack import Bound, Stack
from qfedfm.engine.arm import Arm, PartConfig
from qfedfm.engine.keysources import Costs, Links, Sources, sources
from qfedfm.engine.quantumlink import CLIENT, QuantumLink

if TYPE_CHECKING:
    from qfedfm.engine.setting import Setting

SERVER = "server"


def client_name(client: ClientId) -> str:
    """What a client is called at a source of keys."""
    return f"{CLIENT}{client}"


class Security(BaseModel):
    """How updates and models are protected on their way.

    Args:
        keys: ``none``: nothing is sealed. ``classical``: X25519 with ML-KEM-768. ``qkd``: keys of links. ``hybrid``:
            those with ML-KEM-768.
        seal: by name or as a table of its name and options; for methods whose layers name none.
        key_bits: that the links can give in one run; a run that may need more is refused before it starts.
        low: what happens when a link has no key. ``wait``: for a while; ``refuse``: not at all; the client is then left
            out of the round. ``fallback``: the key comes from X25519 with ML-KEM-768 alone, and the history says so.
        link: simulates the photons of each link; None for bits of the operating system in their place.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: Literal["none", "classical", "qkd", "hybrid"] = "none"
    seal: PartConfig = "aes-gcm"
    key_bits: Annotated[int, Field(ge=1, strict=True)] | None = None
    low: Literal["wait", "refuse", "fallback"] = "refuse"
    link: QuantumLink | None = None

    @model_validator(mode="after")
    def _apart(self) -> Security:
        if self.keys not in ("qkd", "hybrid") and (self.link is not None or self.low != "refuse"):
            raise ValueError('keys = "qkd" or "hybrid" beside link or low')
        return self

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
        if links is not None and self.link is not None:
            raise ConfigError("links of keys beside [security] link", "one of them", "leave one out")
        run = hashlib.sha256(name.encode()).digest()
        return Ends(sources(self.keys, run, epoch, links, self.link, self.low), run)


@dataclass(frozen=True)
class Spent:
    """What keys and seals have cost so far."""

    account: Account
    costs: Costs


@dataclass
class Ends:
    """The keyrings of one run: every client's towards the server, and the server's towards every client.

    Args:
        sources: of the parties' keys.
        run: bytes that stand for the run.
    """

    sources: Sources
    run: bytes
    account: Account = field(default_factory=Account)
    predicted: int = 0
    """Bits of key that the run needs at most."""
    _rings: dict[tuple[str, str], Keyring] = field(default_factory=dict, repr=False)

    @property
    def links(self) -> Links:
        """Each party's source of keys."""
        return self.sources.end

    def begin(self, round_: int) -> Spent:
        """A round begins; what has been spent until now."""
        self.sources.begin(round_)
        return Spent(replace(self.account), self.sources.costs())

    def record(self, before: Spent) -> dict[str, Any]:
        """What a record says of keys and seals: what was spent since ``before``."""
        now = self.account
        return {
            "keys": self.label,
            "key_bits": now.key_bits - before.account.key_bits,
            "seal_bytes": now.bytes - before.account.bytes,
            **self.sources.record(before.costs, now.seconds - before.account.seconds),
        }

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

    @property
    def main(self) -> str:
        """Where the keys are from as long as nothing falls back."""
        return self.sources.main(SERVER).label

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
