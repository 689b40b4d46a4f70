"""The way down as differences: what all clients have reconstructed, and how one that missed rounds catches up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32

from qfedfm.core import wire
from qfedfm.core.cohort import EMPTY, ClientId, State
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import describe


@dataclass(frozen=True)
class Way:
    """The codec of the way down, for one run.

    Args:
        codec: encodes the differences.
        layout: of the model.
        key: that sender and receivers share.
        epoch: of the session, for the header.
    """

    codec: Codec
    layout: Layout
    key: Key
    epoch: int = 0

    def at(self, round_: int) -> At:
        """Where the message of a round is; it is one for all clients."""
        return At(self.epoch, round_, wire.EVERYONE, self.key.fold("downlink", round_), self.layout, 0)

    def frame(self, round_: int) -> wire.Frame:
        """Its header."""
        text = json.dumps(["down", describe(self.codec)], sort_keys=True)
        digest = hashlib.sha256(text.encode()).digest()[:8]
        return wire.Frame(self.epoch, round_, wire.EVERYONE, self.layout.digest, digest, wire.DOWN)


@dataclass(frozen=True)
class Chain:
    """The chain of reconstructed models M̂ₜ = M̂ₜ₋₁ + C(Mₜ − M̂ₜ₋₁), the same on the server and on every client.

    Args:
        model: M̂ₜ; None before the first round, whose message is the whole model.
        memory: of the codec on the server.
        payloads: the messages of the last rounds, as long as together they are shorter than the whole model.
        versions: the round of the last message that each client is known to have.
    """

    model: Float32[np.ndarray, " d"] | None = None
    memory: State = field(default_factory=lambda: EMPTY)
    payloads: Mapping[int, bytes] = field(default_factory=dict)
    versions: Mapping[ClientId, int] = field(default_factory=dict)

    def advanced(self, target: Float32[np.ndarray, " d"], round_: int, way: Way) -> Chain:
        """The chain with the message of a round, which takes it towards the server's model."""
        if self.model is None:
            return replace(self, model=target, memory=way.codec.memory(way.layout))
        at = way.at(round_)
        body, memory = way.codec.send(target - self.model, self.memory, at)
        payload = wire.frame(body, way.frame(round_))
        kept, room = {round_: payload}, 4 * way.layout.size + wire.OVERHEAD - len(payload)
        for earlier in sorted(self.payloads, reverse=True):
            room -= len(self.payloads[earlier])
            if room < 0:
                break
            kept[earlier] = self.payloads[earlier]
        mirror = way.codec.mirror(way.layout)
        return replace(self, model=self.model + way.codec.receive(body, mirror, at)[0], memory=memory, payloads=kept)

    def missing(self, client: ClientId, round_: int) -> list[bytes] | None:
        """The messages that a client lacks, in order; None where it must have the whole model."""
        known = self.versions.get(client)
        lacking = range(round_ if known is None else known + 1, round_ + 1)
        if known is None or not all(number in self.payloads for number in lacking):
            return None
        return [self.payloads[number] for number in lacking]

    def received(self, clients: Iterable[ClientId], round_: int) -> Chain:
        """After those clients have answered, and so have the model of the round."""
        return replace(self, versions={**self.versions, **dict.fromkeys(clients, round_)})

    def tensors(self) -> dict[str, np.ndarray]:
        """As named arrays, for a checkpoint."""
        if self.model is None:
            return {}
        payloads = {f"payload/{number}": np.frombuffer(body, np.uint8) for number, body in self.payloads.items()}
        memory = {f"memory/{name}": np.asarray(value) for name, value in self.memory.items()}
        versions = np.array(sorted(self.versions.items()), np.int64).reshape(-1, 2)
        return {"model": self.model, "versions": versions, **payloads, **memory}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, np.ndarray]) -> Chain:
        """What `tensors` gave."""
        if not tensors:
            return cls()
        below: dict[str, dict[str, np.ndarray]] = {"payload": {}, "memory": {}}
        for name, value in tensors.items():
            group, _, rest = name.partition("/")
            if rest:
                below[group][rest] = value
        payloads = {int(number): value.tobytes() for number, value in below["payload"].items()}
        versions = {int(client): int(number) for client, number in tensors["versions"].tolist()}
        return cls(tensors["model"], below["memory"], payloads, versions)


def follow(model: Float32[np.ndarray, " d"], payloads: Mapping[int, bytes], way: Way) -> Float32[np.ndarray, " d"]:
    """A client's half: its model and the messages that it lacked, to the model of the last of them.

    Args:
        model: M̂ of the round before the first message.
        payloads: the messages by round.
        way: as the server has it.

    Raises:
        PayloadError: a message is damaged or addressed elsewhere.
    """
    for number in sorted(payloads):
        body, _ = wire.unframe(payloads[number], way.frame(number), way.codec.largest(way.layout))
        model = model + way.codec.receive(body, way.codec.mirror(way.layout), way.at(number))[0]
    return model
