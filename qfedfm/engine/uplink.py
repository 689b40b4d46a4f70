"""The answers of a round, one at a time: encoded, sent as bytes, decoded and handed to the aggregator at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from qfedfm.core.cohort import ClientId, State
from qfedfm.core.errors import AgreementError, KeyServiceError, KeyShortageError, PayloadError
from qfedfm.core.parts import At
from qfedfm.core.phases import phase
from qfedfm.engine.memories import Memories
from qfedfm.engine.setting import Setting
from qfedfm.engine.state import RunState
from qfedfm.incentives.selector import Watcher

_REFUSED = (PayloadError, KeyShortageError, KeyServiceError, AgreementError)
"""What one update's failure raises, which the round goes on without."""


@dataclass(frozen=True)
class Received:
    """An update that counts in its round.

    Args:
        decoded: as the server has it.
        states: what the codec remembers from now on, on the client and on the server.
    """

    decoded: Float32[np.ndarray, " d"]
    states: dict[str, State]


class Uplink:
    """Takes the updates of a round in ascending order of the client ids and keeps none of them.

    Args:
        setting: of the run.
        memories: what the codec remembers of each client.
        state: before the round; its late answers arrive now, each before the first client with a higher id.
        late: the clients whose answers miss this round's deadline.
        most: updates that can arrive.
        models: what each client of this round has started from.
        watcher: looks at each update that is counted, where the selector wants to know them.
    """

    down_bytes = 0
    """Nothing goes down in answer to an update."""
    notes: Mapping[str, Any] = {}
    """Nothing besides what every record says."""

    def __init__(
        self,
        setting: Setting,
        memories: Memories,
        state: RunState,
        late: frozenset[ClientId],
        most: int,
        models: Mapping[ClientId, Float32[np.ndarray, " d"]],
        watcher: Watcher | None = None,
    ) -> None:
        self._setting, self._round, self._late = setting, state.round + 1, late
        self._memories, self._models = memories, models
        self._watcher = watcher
        self._waiting = sorted(state.late.items())
        self._of_late: list[dict[str, Any]] = []
        self._refused: list[dict[str, Any]] = []
        self._unsent: list[dict[str, Any]] = []
        self.collector = setting.bound.collect(most + len(self._waiting))
        self.participants: list[ClientId] = []
        self.late: dict[ClientId, bytes] = {}
        self.bytes = 0
        self.client_seconds = self.server_seconds = 0.0

    @property
    def refused(self) -> list[dict[str, Any]]:
        """Who was not counted and why: what was not sent, late answers of the last round, answers of this one."""
        return [*self._unsent, *self._of_late, *self._refused]

    def send(self, client: ClientId, delta: Float32[np.ndarray, " d"]) -> Received | None:
        """One client's update; what the server makes of it, or None where it is not counted in this round."""
        clock = time.perf_counter()
        with phase("encode"):
            sent = self._encode(client, delta)
        self.client_seconds += time.perf_counter() - clock
        if sent is None:
            return None
        payload, memory = sent
        if client in self._late:
            self.late[client] = payload
            return None
        clock = time.perf_counter()
        self._catch_up(client)
        received = self._receive(client, payload, self._refused)
        self.server_seconds += time.perf_counter() - clock
        return None if received is None else Received(received[0], {"codec": memory, "mirror": received[1]})

    def close(self) -> None:
        """After the last update: the late answers that are still waiting."""
        clock = time.perf_counter()
        self._catch_up(None)
        self.server_seconds += time.perf_counter() - clock

    def _catch_up(self, last: ClientId | None) -> None:
        while self._waiting and (last is None or self._waiting[0][0] <= last):
            client, payload = self._waiting.pop(0)
            self._receive(client, payload, self._of_late)

    def _encode(self, client: ClientId, delta: Float32[np.ndarray, " d"]) -> tuple[bytes, State] | None:
        bound = self._setting.bound
        memory = self._memories.of(client, "codec") or bound.memory(client)
        try:
            ends = self._setting.ends
            return bound.send(delta, memory, self._at(client), None if ends is None else ends.client(client))
        except _REFUSED as error:
            self._unsent.append({"client": client, "reason": f"not sent: {error}"})
            return None

    def _receive(
        self, client: ClientId, payload: bytes, refused: list[dict[str, Any]]
    ) -> tuple[Float32[np.ndarray, " d"], State] | None:
        bound = self._setting.bound
        mirror = self._memories.of(client, "mirror") or bound.mirror(client)
        self.bytes += len(payload)
        try:
            with phase("wire"):
                ends = self._setting.ends
                keys = None if ends is None else ends.server(client)
                decoded, mirror = bound.receive(payload, mirror, self._at(client), keys)
        except _REFUSED as error:
            refused.append({"client": client, "reason": str(error)})
            return None
        with phase("reduce"):
            self.collector.add(client, decoded, float(len(self._setting.split.train[client])))
        if self._watcher is not None:
            self._watcher.add(client, decoded)
        self.participants.append(client)
        return decoded, mirror

    def _at(self, client: ClientId) -> At:
        return at_of(self._setting, self._round, client, self._models.get(client))


def at_of(setting: Setting, round_: int, client: ClientId, model: Float32[np.ndarray, " d"] | None) -> At:
    """Where a client's half of a round is; ``model`` is what it started from."""
    key = setting.key.fold("layers", round_, client)
    return At(setting.epoch, round_, client, key, setting.bound.layout, len(setting.split.train[client]), model)
