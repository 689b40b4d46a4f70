"""The rounds of H-FL: state in, state out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32

from qfedfm.core import wire
from qfedfm.core.cohort import EMPTY, ClientId
from qfedfm.core.errors import PayloadError
from qfedfm.incentives.participation import Participation
from qfedfm.split.client import Client
from qfedfm.split.config import HFL
from qfedfm.split.federation import Federation
from qfedfm.split.mediator import Mediator
from qfedfm.split.mediators import gather, mean_divergence
from qfedfm.split.messages import read_counts, write_counts
from qfedfm.split.post import Post, total
from qfedfm.split.server import Judged, Server
from qfedfm.split.state import SplitState
from qfedfm.tasks.protocol import Task

Result = TypeVar("Result")


@dataclass(frozen=True)
class Round:
    """One round as a notebook sees it.

    Args:
        number: 0 before training.
        record: accuracy, loss, bytes …, as JSON values.
        state: after it; `play` and `advance` go on from there.
    """

    number: int
    record: Mapping[str, Any]
    state: SplitState


@dataclass(frozen=True)
class Played:
    """A round before its model is tested.

    Args:
        state: after it, without a record of it.
        seen: what its record holds besides the metrics.
        client_steps: forward and backward passes of clients.
        server_seconds: how long the server worked.
    """

    state: SplitState
    seen: Mapping[str, Any]
    client_steps: int = 0
    server_seconds: float = 0.0


def play(config: HFL, task: Task, seed: int, state: SplitState | None = None) -> Iterator[Round]:
    """A run, a round at a time; from ``state`` on where there is one, else with round 0, the model before training.

    Raises:
        ConfigError: the task cannot be cut there, or has fewer clients than are to take part.
        DataError: a client has no training row, or nobody has a test row.
    """
    federation = Federation.of(config, task, seed)
    if state is None:
        state = begin(federation)
        yield Round(0, state.history[-1], state)
    while state.round < config.rounds:
        state = advance(federation, state)
        yield Round(state.round, state.history[-1], state)


def begin(federation: Federation) -> SplitState:
    """The state before the first round: the first model, and a census of the clients' labels."""
    return _tested(federation, first(federation))


def first(federation: Federation) -> Played:
    """`begin` without a look at the test rows."""
    post, shallow, deep = Post(federation.epoch, 0), *federation.first
    counts = _census(federation, post)
    seen = {"train_loss": None, **_bytes(post), **_who((), []), "diagnostics": {}}
    return Played(SplitState(0, shallow, deep, EMPTY, counts, ()), seen)


def _tested(federation: Federation, played: Played) -> SplitState:
    state = played.state
    record = {"round": state.round, **_metrics(federation, state.shallow, state.deep), **played.seen}
    return replace(state, history=(*state.history, record))


def _census(federation: Federation, post: Post) -> dict[ClientId, np.ndarray]:
    letter, classes = federation.letter("core", wire.UP, "counts"), federation.task.classes
    found = {}
    for client in federation.split.clients:
        counts = federation.counts(client)
        payload = post.seal(letter, client, write_counts(counts), int(counts.sum()))
        body, samples = post.open(letter, client, payload, 4 * classes)
        found[client] = read_counts(body, classes, samples)
    return found


def _metrics(federation: Federation, shallow: np.ndarray, deep: np.ndarray) -> dict[str, float]:
    rows = federation.tested
    with np.errstate(all="ignore"):  # the outputs of a model that has diverged overflow
        found = federation.task.metrics(federation.outputs(shallow, deep, rows), rows)
    return {name: float(value) for name, value in found.items()}


def _who(groups: tuple[tuple[ClientId, ...], ...], refused: list[dict[str, Any]]) -> dict[str, Any]:
    clients = sorted(client for group in groups for client in group)
    return {"participants": clients, "mediators": [list(group) for group in groups], "refused": refused}


def _bytes(post: Post) -> dict[str, Any]:
    traffic = post.traffic
    return {
        "uplink_bytes": total(traffic, "core", "up"),
        "downlink_bytes": total(traffic, "core", "down"),
        "edge_uplink_bytes": total(traffic, "edge", "up"),
        "edge_downlink_bytes": total(traffic, "edge", "down"),
        "traffic": traffic,
    }


def advance(federation: Federation, state: SplitState) -> SplitState:
    """One round."""
    return _tested(federation, train(federation, state))


def train(federation: Federation, state: SplitState) -> Played:
    """`advance` without a look at the test rows."""
    round_ = state.round + 1
    post = Post(federation.epoch, round_)
    counts = {client: state.counts[client] for client in _present(federation, round_)}
    groups = gather(counts, federation.config.clients_per_mediator)
    training = _Training(federation, post, state, groups)
    shallow, deep, optimizer = training.train()
    diagnostics = {"divergence": mean_divergence(groups, counts), "feature_error": training.lost}
    after = replace(state, round=round_)
    if np.isfinite(shallow).all() and np.isfinite(deep).all():
        after = replace(after, shallow=shallow, deep=deep, optimizer=optimizer)
    else:
        diagnostics["not_finite"] = 1.0
    who = _who(groups, training.refused)
    seen = {"train_loss": training.loss, **_bytes(post), **who, "diagnostics": diagnostics}
    return Played(after, seen, training.client_steps, training.server_seconds)


def _present(federation: Federation, round_: int) -> tuple[ClientId, ...]:
    """Whom every other method with the uniform choice invites on this seed."""
    participation = Participation(clients_per_round=federation.config.clients_per_round)
    return participation.draw(federation.key.fold("participation"), round_, federation.split.clients).invited


class _Training:
    """Training in one round; a mediator one of whose payloads is refused takes no further part in it."""

    def __init__(
        self, federation: Federation, post: Post, state: SplitState, groups: tuple[tuple[ClientId, ...], ...]
    ) -> None:
        round_ = state.round + 1
        self._steps, self._state = federation.config.steps, state
        self._server = Server(federation, post, round_, state.shallow, state.deep, state.optimizer)
        payload = self._server.broadcast(len(groups))
        self._mediators = {
            number: Mediator(
                federation,
                post,
                number,
                [Client(federation, post, client, round_) for client in group],
                round_,
                payload,
            )
            for number, group in enumerate(groups)
        }
        self._all = tuple(self._mediators.values())
        self.refused: list[dict[str, Any]] = []
        self.client_steps, self.server_seconds = 0, 0.0

    def train(self) -> tuple[np.ndarray, np.ndarray, Mapping[str, np.ndarray]]:
        """The shallow part, the deep part and its optimiser's state after the round."""
        for step in range(self._steps):
            judged = self._tried(self._judge, step)
            if not judged:
                break
            self._tried(self._correct, step, self._clocked(self._server.step, judged, step))
        updates = self._tried(self._update)
        shallow = self._clocked(self._server.average, updates) if updates else self._state.shallow
        return shallow, *self._server.deep

    def _judge(self, mediator: Mediator, step: int) -> Judged:
        payload = mediator.collect(step)
        return self._clocked(self._server.judge, mediator.number, len(mediator.clients), payload, step)

    def _correct(self, mediator: Mediator, step: int, payloads: Mapping[int, bytes]) -> None:
        mediator.correct(payloads[mediator.number], step)
        self.client_steps += len(mediator.clients)

    def _update(self, mediator: Mediator) -> Float32[np.ndarray, " s"]:
        return self._clocked(self._server.update, mediator.number, mediator.finish())

    def _clocked(self, what: Callable[..., Result], *args: Any) -> Result:
        """What the server does, on its clock."""
        clock = time.perf_counter()
        found = what(*args)
        self.server_seconds += time.perf_counter() - clock
        return found

    def _tried(self, what: Callable[..., Result], *args: Any) -> dict[int, Result]:
        found = {}
        for number, mediator in list(self._mediators.items()):
            try:
                found[number] = what(mediator, *args)
            except PayloadError as error:
                self.refused.append({"mediator": number, "reason": str(error)})
                del self._mediators[number]
        return found

    @property
    def lost(self) -> float:
        """The mean of ‖X − X̂‖ / ‖X‖ over all batches that were sent."""
        every = [lost for mediator in self._all for lost in mediator.lost]
        return float(np.mean(every)) if every else 0.0

    @property
    def loss(self) -> float | None:
        """The mean over the steps of what the server trained on."""
        return float(np.mean(self._server.losses)) if self._server.losses else None
