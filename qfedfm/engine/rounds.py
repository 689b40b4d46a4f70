"""One round: state in, state out. Nothing here reads a clock for anything but the seconds that it reports."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from qfedfm.clients.jobs import Job, Query, Trained
from qfedfm.core.cohort import ClientId, Reduced
from qfedfm.core.errors import DataError
from qfedfm.core.parts import Objective, ServerAt
from qfedfm.core.phases import phase
from qfedfm.engine.assign import Assignment
from qfedfm.engine.chain import Way
from qfedfm.engine.clusters import Clusters
from qfedfm.engine.downlink import Sent, send_down
from qfedfm.engine.evaluate import accuracy, judge, mean_loss
from qfedfm.engine.masks import without_late
from qfedfm.engine.memories import Memories
from qfedfm.engine.security import Spent
from qfedfm.engine.setting import Setting
from qfedfm.engine.state import RunState
from qfedfm.engine.summed import uplink_of
from qfedfm.incentives.selector import Watcher

Outputs = Float32[np.ndarray, "_ classes"]
SELECTOR = "selector_"
"""What the history puts before the names of a selector's numbers."""


def untrained(setting: Setting) -> list[Query]:
    """What is to be evaluated before `start`."""
    return to_evaluate(setting, None, 0)


def start(setting: Setting, outputs: Sequence[Outputs]) -> RunState:
    """The state before the first round, with the untrained model as record 0; ``outputs`` answer `untrained`."""
    layout = setting.bound.layout
    record = {"round": 0, **metrics(setting, {}, 0, outputs), **quiet(), **_sealing(setting, _begin(setting, 0))}
    local, server = setting.arm.local.server(layout), setting.arm.server.init(layout)
    return RunState(0, setting.drawn.adapter, setting.bound.init(), server, local, history=(record,))


def _begin(setting: Setting, round_: int) -> Spent | None:
    """What keys and seals have cost when a round begins."""
    return None if setting.ends is None else setting.ends.begin(round_)


def _sealing(setting: Setting, before: Spent | None) -> dict[str, Any]:
    return {} if setting.ends is None or before is None else setting.ends.record(before)


def quiet() -> dict[str, Any]:
    """What a record holds of a round in which nothing happened, besides its number and metrics."""
    lists: dict[str, list[Any]] = {name: [] for name in ("participants", "hostile", "dropped", "late", "refused")}
    return {
        "train_loss": None, "uplink_bytes": 0, "downlink_bytes": 0, **lists, "client_weights": None,
        "diagnostics": {}, "client_steps": 0, "server_seconds": 0.0, "train_seconds": 0.0,
    }  # fmt: skip


def to_evaluate(setting: Setting, state: RunState | None, round_: int) -> list[Query]:
    """The test rows after every round, those of each cluster with its model; the tuning rows after the last."""
    model = setting.drawn.adapter if state is None else state.model
    clusters = Clusters() if state is None else state.clusters
    tested = setting.drawn.tested
    asked = []
    if setting.test:
        asked = [Query(clusters.of(who[0], model), tested.rows[of]) for who, of in tested.together(clusters.members)]
    tuned = [Query(model, setting.split.tuning)] if round_ == setting.rounds and len(setting.split.tuning) else []
    return [*asked, *tuned]


def metrics(
    setting: Setting, members: Mapping[ClientId, int], round_: int, outputs: Sequence[Outputs]
) -> dict[str, Any]:
    """What a record says of the model after round ``round_``; ``outputs`` answer `to_evaluate`."""
    with phase("evaluate"):
        tested = setting.drawn.tested
        found = judge(setting.task, tested, tested.in_order(members, outputs)) if setting.test else {}
        if round_ == setting.rounds and len(setting.split.tuning):
            found["tuning_accuracy"] = accuracy(setting.task, setting.split.tuning, outputs[-1])
        return found


class OpenRound:
    """A round under way: broadcast, then `accept` for each trained client, `step`, and `close`; made by `open_round`.

    Args:
        setting: of the run.
        state: before the round.
        group: the number of the run among those that are trained together.
    """

    def __init__(self, setting: Setting, state: RunState, group: int) -> None:
        clock = time.perf_counter()
        self._setting, self._state, self._round = setting, state, state.round + 1
        self._invite()
        selecting = time.perf_counter() - clock
        before = _begin(setting, self._round)
        with phase("wire"):
            self._sent = self._broadcast()
        silent = {*self._who.dropped, *self._sent.unreached}
        self._memories = Memories(setting, state)
        self._assignment = Assignment(setting, state, self._sent.models, self._sent.local, self._memories, group)
        with phase("data"):
            jobs = [self._assignment.job(client) for client in self._who.invited if client not in silent]
        self.jobs: tuple[Job, ...] = tuple(jobs)
        self._spent = before
        self._uplink = uplink_of(setting, state, self._memories, self._who, self._sent, self._watcher)
        attack, answering = setting.drawn.attack, {job.client for job in jobs}
        self._watched = attack is not None and attack.omniscient and bool(setting.hostile & answering)
        self._held: list[Trained] = []
        self._losses: list[float] = []
        self._reduced: Reduced | None = None
        self._next = state
        self._server_seconds = selecting
        self._train_seconds = time.perf_counter() - clock - selecting

    def _invite(self) -> None:
        """Who is invited, what becomes of them, and what looks at their updates where the selector wants to know."""
        setting, selector = self._setting, self._setting.arm.selector
        key, clients = setting.key.fold("participation"), setting.drawn.clients
        with phase("select"):
            invited = setting.participation.invite(selector, self._state.selector, key, self._round, clients)
        self._selected = {SELECTOR + name: value for name, value in invited.diagnostics.items()}
        self._who = setting.participation.draw(key, self._round, clients, invited.clients)
        if setting.masks is not None:
            self._who = without_late(self._who)
        size = setting.bound.layout.size
        self._watcher = Watcher(size, setting.key.fold("selector", "sketch")) if selector.watches else None

    def _broadcast(self) -> Sent:
        setting, state = self._setting, self._state
        down = (
            None
            if setting.arm.down is None
            else Way(setting.arm.down, setting.bound.layout, setting.key, setting.epoch)
        )
        return send_down(state, self._who.invited, down, setting.bound, setting.epoch, setting.ends)

    def charge(self, seconds: float) -> None:
        """Adds to the round's training time what an engine spent on its jobs."""
        self._train_seconds += seconds

    def accept(self, trained: Trained) -> None:
        """Takes what one job gave, in the order of `jobs`.

        It is encoded, decoded and added to the aggregate at once, unless attackers are waiting to see all of them.

        Raises:
            DataError: it is another client's turn.
        """
        turn = self.jobs[len(self._losses)].client if len(self._losses) < len(self.jobs) else None
        if trained.client != turn:
            raise DataError(f"the update of client {trained.client}", f"that of client {turn}")
        self._losses.append(float(np.mean(trained.losses)))
        self._held.append(trained)
        if not self._watched:
            self._send_held()

    def _send_held(self) -> None:
        clock = time.perf_counter()
        deltas = self._forged()
        self._train_seconds += time.perf_counter() - clock
        first = len(self._losses) - len(self._held)
        for job, trained, delta in zip(self.jobs[first:], self._held, deltas, strict=False):
            received = self._uplink.send(job.client, delta)
            if received is not None:
                kept = self._assignment.remembered(job, trained, received.decoded)
                self._memories.keep(job.client, {**kept, **received.states})
        self._held.clear()

    def _forged(self) -> list[Float32[np.ndarray, " d"]]:
        """What the clients send: their delta, or what the attack makes of it."""
        deltas = [trained.delta for trained in self._held]
        attack, held = self._setting.drawn.attack, [trained.client for trained in self._held]
        places = [place for place, client in enumerate(held) if client in self._setting.hostile]
        if attack is None or not places:
            return deltas
        honest = [delta for place, delta in enumerate(deltas) if place not in places]
        seen = np.stack(honest) if honest else np.empty((0, self._setting.bound.layout.size), np.float32)
        clients = tuple(held[place] for place in places)
        key = self._setting.key.fold("attack", self._round)
        forged = attack.forge(seen, np.stack([deltas[place] for place in places]), clients, key)
        for place, delta in zip(places, forged, strict=True):
            deltas[place] = delta
        return deltas

    def _unreached(self) -> list[dict[str, Any]]:
        return [{"client": client, "reason": reason} for client, reason in self._sent.unreached.items()]

    def step(self) -> Float32[np.ndarray, " d"]:
        """Aggregates what has arrived and takes the server's step; gives the next model."""
        self._send_held()
        self._uplink.close()
        clock = time.perf_counter()
        with phase("reduce"):
            self._next = self._aggregate()
        self._learn()
        self._server_seconds += time.perf_counter() - clock + self._uplink.server_seconds
        return self._next.model

    def _learn(self) -> None:
        """The selector's state after the round."""
        if self._watcher is not None:
            with phase("select"):
                seen = self._watcher.seen(self._who.invited, self._reduced)
                learnt = self._setting.arm.selector.learn(self._state.selector, self._round, seen)
                self._next = replace(self._next, selector=learnt)

    def _aggregate(self) -> RunState:
        setting, state, collector = self._setting, self._state, self._uplink.collector
        if collector.count < setting.bound.minimum_clients():
            self._memories.forget()
            return state
        key = setting.key.fold("reduce", self._round)
        at = ServerAt(self._round, key, setting.bound.layout, state.model, self._objective())
        reduced, reduce_state = collector.finish(state.reduce, at)
        step = setting.arm.server.step
        model, server_state = step(state.model, reduced.vector, state.server)
        spent = float(np.mean([job.rates.sum() for job in self.jobs]))
        population = len(setting.drawn.clients)
        local = setting.arm.local.close(reduced.vector, spent, collector.count, population, state.local)
        new = dict.fromkeys(self._memories.written, self._round)
        state = replace(state, local=local, clients={**state.clients, **new} if new else state.clients)
        if np.isfinite(model).all():
            self._reduced = reduced
            if reduced.personal is not None:
                clusters = state.clusters.stepped(reduced.personal, state.model, state.server, step)
                state = replace(state, clusters=clusters)
            return replace(state, model=model, reduce=reduce_state, server=server_state)
        self._reduced = replace(reduced, diagnostics={**reduced.diagnostics, "not_finite": 1.0})
        return state

    def _objective(self) -> Objective | None:
        """The loss on the validation rows; None where the server holds none."""
        engine, task, model = self._setting.engine, self._setting.task, self._state.model
        rows = self._setting.split.validation

        def loss(delta: Float32[np.ndarray, " d"]) -> float:
            (outputs,) = engine.outputs([Query(model + delta, rows)])
            return mean_loss(task, rows, outputs)

        count = len(rows)
        return Objective(lambda delta: engine.gradient(model + delta, rows), loss, count) if count else None

    @property
    def queries(self) -> list[Query]:
        """What is to be evaluated after `step`: the test rows, and in the last round the tuning rows."""
        return to_evaluate(self._setting, self._next, self._round)

    def close(self, outputs: Sequence[Outputs]) -> RunState:
        """The state after the round; ``outputs`` answer `queries`."""
        who, uplink, reduced = self._who, self._uplink, self._reduced
        weights = reduced.client_weights if reduced is not None else None
        named = None if weights is None else {str(client): weight for client, weight in weights.items()}
        few = {"too_few_updates": float(len(uplink.participants))}
        members = self._next.clusters.members
        found = metrics(self._setting, members, self._round, outputs)
        tuned = {name: found.pop(name) for name in ("tuning_accuracy",) if name in found}
        record = {
            "round": self._round,
            **found,
            "train_loss": float(np.mean(self._losses)) if self._losses else None,
            "uplink_bytes": uplink.bytes,
            "downlink_bytes": self._sent.bytes + uplink.down_bytes,
            "participants": list(uplink.participants),
            "hostile": sorted(self._setting.hostile & set(who.invited)),
            "dropped": list(who.dropped),
            "late": sorted(uplink.late),
            "refused": [*self._unreached(), *uplink.refused],
            "client_weights": named,
            "diagnostics": {**(reduced.diagnostics if reduced is not None else few), **self._selected},
            "client_steps": sum(len(job.rows) for job in self.jobs),
            "server_seconds": self._server_seconds,
            "train_seconds": self._train_seconds + uplink.client_seconds,
            **_sealing(self._setting, self._spent),
            **uplink.notes,
            **tuned,
            **({"clusters": {str(client): label for client, label in sorted(members.items())}} if members else {}),
        }
        chain = self._sent.chain.received([job.client for job in self.jobs], self._round)
        history = (*self._state.history, record)
        return replace(self._next, round=self._round, late=uplink.late, history=history, chain=chain)


def open_round(setting: Setting, state: RunState, group: int = 0) -> OpenRound:
    """Broadcasts the model and makes the jobs of all clients that answer; ``group`` is the run's number in the call."""
    return OpenRound(setting, state, group)
