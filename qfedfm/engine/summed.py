"""The answers of a round under a summed layer: several messages each way, of which only a sum opens."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from qfedfm.core import wire
from qfedfm.core.additive import AdditiveCodec
from qfedfm.core.cohort import ClientId, Reduced, State
from qfedfm.core.errors import PayloadError, RoundError, StackError
from qfedfm.core.float32 import require_finite
from qfedfm.core.keyring import Keyring
from qfedfm.core.parts import At, ServerAt, SumReduce
from qfedfm.core.phases import phase
from qfedfm.core.seals import added, open_body, seal_body
from qfedfm.core.stack import Bound, Stack
from qfedfm.core.summed import Opened, Summands, Summing
from qfedfm.engine.downlink import Sent
from qfedfm.engine.masks import Masks
from qfedfm.engine.memories import Memories
from qfedfm.engine.setting import Setting
from qfedfm.engine.state import RunState
from qfedfm.engine.uplink import Received, Uplink, at_of
from qfedfm.incentives.participation import Attendance
from qfedfm.incentives.selector import Watcher


class Post:
    """Frames, seals and counts the messages of a round.

    Args:
        setting: of the run.
        round_: of the messages.
    """

    def __init__(self, setting: Setting, round_: int) -> None:
        self._setting, self._round = setting, round_
        self.uplink = self.downlink = 0

    def up(self, client: ClientId, message: bytes) -> bytes:
        """From a client to the server."""
        ends = self._setting.ends
        keys = (None, None) if ends is None else (ends.client(client), ends.server(client))
        body, length = self._pass(client, wire.UP, message, *keys)
        self.uplink += length
        return body

    def down(self, client: ClientId, message: bytes) -> bytes:
        """From the server to a client."""
        ends = self._setting.ends
        keys = (None, None) if ends is None else (ends.server(client), ends.client(client))
        body, length = self._pass(client, wire.DOWN, message, *keys)
        self.downlink += length
        return body

    def _pass(
        self, client: ClientId, direction: int, message: bytes, sender: Keyring | None, receiver: Keyring | None
    ) -> tuple[bytes, int]:
        """What arrives, and the bytes that travelled. The header claims no samples: the weight is hidden as well."""
        bound, epoch = self._setting.bound, self._setting.epoch
        seals = bound.stack.seals
        header = wire.Frame(epoch, self._round, client, bound.layout.digest, bound.stack.digest, direction)
        sent = wire.frame(seal_body(seals, message, header, sender), header)
        body, _ = wire.unframe(sent, header, len(message) + added(seals))
        return bytes(open_body(seals, body, header, receiver)), len(sent)


class SummedUplink:
    """Takes the updates of a round one by one; each is masked and added at once, and opens to nobody.

    In the place of `qfedfm.engine.uplink.Uplink`, for the same caller.

    Args:
        setting: of the run.
        masks: likewise.
        round_: of the run.
        who: takes part; whoever dropped out did so after the setup.
        unreached: clients that never got the model.
        models: what each client of this round has started from.
    """

    late: Mapping[ClientId, bytes] = {}
    """Nothing is on its way to the next round: an answer after the deadline is a dropout."""

    def __init__(
        self,
        setting: Setting,
        masks: Masks,
        round_: int,
        who: Attendance,
        unreached: Mapping[ClientId, str],
        models: Mapping[ClientId, Float32[np.ndarray, " d"]],
    ) -> None:
        self._setting, self._masks, self._round, self._models = setting, masks, round_, models
        self._post = Post(setting, round_)
        self._unsent: list[dict[str, Any]] = []
        self._given_up = ""
        self.collector = OpenedSum(setting.bound)
        self.client_seconds = self.server_seconds = 0.0
        self._summing = self._begin(who.invited, sorted(unreached))
        self._attempt(self._summing.setup)
        self._setup = dict(self._summing.seconds)

    def _begin(self, clients: tuple[ClientId, ...], silent: list[ClientId]) -> Summing:
        setting = self._setting
        bound, codec = setting.bound, _codec(setting.bound.stack)
        keys = self._masks.pair_keys([client for client in clients if client not in silent], self._post)
        unlinked = self._masks.unlinked(keys)
        reason = "not sent: no key for a link to another client"
        self._unsent += [{"client": client, "reason": reason} for client in unlinked]
        summands = Summands(
            self._masks.run,
            setting.epoch,
            self._round,
            clients,
            bound.layout.digest,
            bound.stack.digest,
            bound.layout.size,
            codec.bound,
            max(setting.drawn.sizes),
        )
        return self._masks.parties.begin(summands, keys, self._post, [*silent, *unlinked])

    @property
    def bytes(self) -> int:
        """Of all messages to the server."""
        return self._post.uplink

    @property
    def down_bytes(self) -> int:
        """Of all messages to clients, besides the model."""
        return self._post.downlink

    @property
    def participants(self) -> list[ClientId]:
        """Those whose updates are in the sum."""
        return list(self.collector.survivors)

    @property
    def refused(self) -> list[dict[str, Any]]:
        """Who is not in the sum and why: what was not sent, and whoever the protocol left out."""
        left = [{"client": client, "reason": reason} for client, reason in sorted(self._summing.refused.items())]
        return [*self._unsent, *left]

    @property
    def notes(self) -> dict[str, Any]:
        """What the record says besides: where the keys of pairs are from, and why nothing was opened."""
        return {**self._masks.notes, **({"given_up": self._given_up} if self._given_up else {})}

    def send(self, client: ClientId, delta: Float32[np.ndarray, " d"]) -> Received | None:
        """One client's update: its whole numbers go into the sum; what they decode to is known to the client alone.

        None where it is not in the sum.
        """
        clock = time.perf_counter()
        stack, codec = self._setting.bound.stack, _codec(self._setting.bound.stack)
        at = at_of(self._setting, self._round, client, self._models.get(client))
        try:
            with phase("encode"):
                q = codec.integers(_encoded(stack, delta, at), at)
        except PayloadError as error:
            self._unsent.append({"client": client, "reason": f"not sent: {error}"})
            return None
        self.client_seconds += time.perf_counter() - clock
        with phase("wire"):
            taken = self._summing.take(client, q, at.samples)
        return Received(codec.real(q, 1), {}) if taken else None

    def close(self) -> None:
        """After the last update: opens the sum, unless too few are left."""
        if not self._given_up:
            self._attempt(self._open)
        seconds = {name: spent - self._setup[name] for name, spent in self._summing.seconds.items()}
        server = sum(seconds[name] for name in ("server", "add", "open"))
        self.server_seconds += server
        self.client_seconds += sum(seconds.values()) - server

    def _open(self) -> None:
        self.collector.opened = self._summing.open()

    def _attempt(self, act: Callable[[], None]) -> None:
        try:
            with phase("wire"):
                act()
        except RoundError as error:
            self._given_up = str(error)


def uplink_of(
    setting: Setting, state: RunState, memories: Memories, who: Attendance, sent: Sent, watcher: Watcher | None
) -> Uplink | SummedUplink:
    """What takes the updates of the round after ``state``.

    Args:
        setting: of the run.
        state: before the round.
        memories: what the codec remembers of each client.
        who: takes part.
        sent: what has gone down.
        watcher: looks at each update, where the selector wants to know them.
    """
    if setting.masks is not None:
        return SummedUplink(setting, setting.masks, state.round + 1, who, sent.unreached, sent.models)
    most = len({*who.invited} - {*who.dropped, *who.late, *sent.unreached})
    return Uplink(setting, memories, state, frozenset(who.late), most, sent.models, watcher)


@dataclass
class OpenedSum:
    """What the sum of a round is reduced from, in the place of a `Collector`.

    Args:
        bound: the aggregator.
        opened: the sum; None while there is none.
    """

    bound: Bound
    opened: Opened | None = None

    @property
    def survivors(self) -> tuple[ClientId, ...]:
        """Whose updates are in it."""
        return () if self.opened is None else self.opened.survivors

    @property
    def count(self) -> int:
        """How many."""
        return len(self.survivors)

    def finish(self, state: State, at: ServerAt) -> tuple[Reduced, State]:
        """The mean, decoded once, as the one update of a sum; it says nothing of single clients' weights."""
        stack, reduce = self.bound.stack, self.bound.stack.reduce
        if self.opened is None or not isinstance(reduce, SumReduce):
            raise RoundError("nothing was opened", "enough survivors")
        mean = _codec(stack).real(self.opened.total, self.opened.weight)
        accumulator = reduce.accumulator(len(mean))
        accumulator.add(mean[None], np.ones(1))
        return Reduced(accumulator.finish()), state


def _codec(stack: Stack) -> AdditiveCodec:
    if not isinstance(stack.codec, AdditiveCodec):
        raise StackError(f"codec {stack.codec.name!r} under a summed layer", "an additive codec")
    return stack.codec


def _encoded(stack: Stack, delta: Float32[np.ndarray, " d"], at: At) -> Float32[np.ndarray, " d"]:
    require_finite(delta, at.layout)
    for layer in stack.vector_layers:
        delta = layer.encode(delta, at)
    return delta
