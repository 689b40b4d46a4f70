"""What clients carry from round to round, and what the server keeps of each, by the part that it belongs to."""

from __future__ import annotations

from qfedfm.core.cohort import EMPTY, ClientId, State
from qfedfm.engine.setting import Setting
from qfedfm.engine.state import RunState

PARTS = ("method", "optimizer", "codec", "mirror")
"""The local method, the client's optimiser, the codec on the client, and the server's copy of the codec's memory."""


class Memories:
    """The states of clients before a round, and those after it as updates are accepted.

    Args:
        setting: of the run.
        state: before the round.
    """

    def __init__(self, setting: Setting, state: RunState) -> None:
        self._setting, self._state = setting, state
        self._read: tuple[ClientId, State] | None = None
        self.written: list[ClientId] = []

    def of(self, client: ClientId, part: str) -> State:
        """What one part remembers of a client; empty before its first accepted update."""
        made = self._state.clients.get(client)
        if made is None:
            return EMPTY
        if self._read is None or self._read[0] != client:
            self._read = client, self._setting.states.read((client, made))
        prefix = part + "/"
        return {key.removeprefix(prefix): value for key, value in self._read[1].items() if key.startswith(prefix)}

    def keep(self, client: ClientId, states: dict[str, State]) -> None:
        """Keeps what all parts remember after an accepted update, where there is anything."""
        memory = {f"{part}/{name}": value for part in PARTS for name, value in states.get(part, EMPTY).items()}
        if memory:
            self._setting.states.write((client, self._state.round + 1), memory)
            self.written.append(client)

    def forget(self) -> None:
        """Takes back what was kept, after a round that was given up."""
        self._setting.states.remove([(client, self._state.round + 1) for client in self.written])
        self.written.clear()
