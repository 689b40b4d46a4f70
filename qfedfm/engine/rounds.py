"""One round: state in, state out. Nothing here reads a clock for anything but the seconds that it reports."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from qfedfm.clients.attack import Attack
from qfedfm.clients.jobs import ClientEngine, Job, Query, Trained
from qfedfm.core.cohort import EMPTY, ClientId, Cohort, Reduced, State
from qfedfm.core.errors import PayloadError
from qfedfm.core.key import Key
from qfedfm.core.parts import At, ServerAt
from qfedfm.core.stack import Bound
from qfedfm.engine.arm import Arm
from qfedfm.engine.downlink import broadcast, receive
from qfedfm.engine.evaluate import evaluate
from qfedfm.engine.schedule import batches, rates
from qfedfm.engine.state import RunState
from qfedfm.incentives.participation import Participation
from qfedfm.tasks.protocol import Split, Task


@dataclass(frozen=True)
class Setting:
    """What stays the same over the rounds of one run (one method, one seed).

    Args:
        arm: the method: local training, aggregator, server optimiser.
        bound: the arm's aggregator bound to the layout and the population.
        task: for labels and metrics.
        split: who holds which rows.
        engine: trains and evaluates.
        key: the seed's key.
        hostile: ids of the hostile clients.
        attack: what they do, or None.
        participation: who takes part.
        rounds: how many there will be, for the learning rate's schedule.
        epoch: how often the run was resumed.
        test: whether the test rows are looked at after each round; a trial of the tuning never does.
    """

    arm: Arm
    bound: Bound
    task: Task
    split: Split
    engine: ClientEngine
    key: Key
    hostile: frozenset[ClientId]
    attack: Attack | None
    participation: Participation
    rounds: int
    epoch: int = 0
    test: bool = True


@dataclass(frozen=True)
class Arrived:
    """What the server holds when a round's deadline has passed."""

    decoded: Mapping[ClientId, Float32[np.ndarray, " d"]]
    refused: tuple[Mapping[str, Any], ...]
    uplink_bytes: int


def start(setting: Setting, model: Float32[np.ndarray, " d"]) -> RunState:
    """The state before the first round, with the untrained model as record 0."""
    local = setting.arm.local.server(setting.bound.layout)
    server = setting.arm.server.init(setting.bound.layout)
    record = {"round": 0, **_metrics(setting, model), **_quiet()}
    return RunState(0, model, setting.bound.init(), server, local, history=(record,))


def _metrics(setting: Setting, model: Float32[np.ndarray, " d"]) -> dict[str, Any]:
    return evaluate(setting.engine, setting.task, setting.split, model) if setting.test else {}


def _quiet() -> dict[str, Any]:
    lists: dict[str, list[Any]] = {name: [] for name in ("participants", "hostile", "dropped", "late", "refused")}
    return {
        "train_loss": None, "uplink_bytes": 0, "downlink_bytes": 0, **lists, "client_weights": None,
        "diagnostics": {}, "server_seconds": 0.0, "train_seconds": 0.0,
    }  # fmt: skip


def next_round(setting: Setting, state: RunState) -> RunState:
    """Plays one round: broadcast, local training, attack, encode, decode, reduce, server step, evaluation."""
    round_ = state.round + 1
    who = setting.participation.draw(setting.key.fold("participation"), round_, setting.bound.population)
    answering = tuple(client for client in who.invited if client not in who.dropped)
    clock = time.perf_counter()
    payload = broadcast(state.model, state.local, setting.bound.layout, setting.epoch, round_)
    model, local = receive(payload, state.local, setting.bound.layout, setting.epoch, round_)
    jobs = [_job(setting, state, round_, client, model, local) for client in answering]
    trained = list(setting.engine.train(jobs))
    payloads, unsent = _encode(setting, round_, _forge(setting, round_, trained))
    train_seconds = time.perf_counter() - clock
    clock = time.perf_counter()
    late = {client: payloads[client] for client in who.late if client in payloads}
    on_time = {client: payload for client, payload in payloads.items() if client not in late}
    arrived = _receive(setting, round_, on_time, state.late)
    reduced, next_model, reduce_state, server_state = _aggregate(setting, state, round_, arrived)
    server_seconds = time.perf_counter() - clock
    record = {
        "round": round_,
        **_metrics(setting, next_model),
        "train_loss": float(np.mean([np.mean(one.losses) for one in trained])) if trained else None,
        "uplink_bytes": arrived.uplink_bytes,
        "downlink_bytes": len(payload) * len(who.invited),
        "participants": sorted(arrived.decoded),
        "hostile": sorted(setting.hostile & set(who.invited)),
        "dropped": sorted(who.dropped),
        "late": sorted(late),
        "refused": [*unsent, *arrived.refused],
        "client_weights": _weights(reduced),
        "diagnostics": dict(reduced.diagnostics) if reduced else {"too_few_updates": float(len(arrived.decoded))},
        "server_seconds": server_seconds,
        "train_seconds": train_seconds,
    }
    if round_ == setting.rounds and len(setting.split.tuning):
        rows = setting.split.tuning
        (outputs,) = setting.engine.outputs([Query(next_model, rows)])
        with np.errstate(all="ignore"):
            record["tuning_accuracy"] = float(setting.task.metrics(outputs, rows)["accuracy"])
    return RunState(
        round_,
        next_model,
        reduce_state,
        server_state,
        _close(setting, state, jobs, arrived, reduced),
        _remember(setting, state, jobs, trained, arrived, local) if reduced else state.clients,
        late,
        (*state.history, record),
    )


def _weights(reduced: Reduced | None) -> dict[str, float] | None:
    if reduced is None or reduced.client_weights is None:
        return None
    return {str(client): weight for client, weight in reduced.client_weights.items()}


def _job(
    setting: Setting, state: RunState, round_: int, client: ClientId, model: Float32[np.ndarray, " d"], local: State
) -> Job:
    training = setting.arm.training
    rows = setting.split.train[client]
    key = setting.key.fold("batches", round_, client)
    steps = training.steps_for(len(rows))
    own = state.clients.get(client, EMPTY)
    attack = setting.attack if client in setting.hostile else None
    job = Job(
        client,
        model,
        batches(rows, steps, training.batch_size, key),
        rates(training.rate, training.schedule, steps, round_, setting.rounds),
        training.optimizer,
        state=_below(own, "optimizer/"),
        relabel=(lambda labels: attack.relabel(labels, setting.task.classes)) if attack else None,
    )
    return setting.arm.local.prepare(job, local, _method_state(setting, own))


def _below(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _method_state(setting: Setting, own: State) -> State:
    return _below(own, "method/") or setting.arm.local.client(setting.bound.layout)


def _forge(setting: Setting, round_: int, trained: list[Trained]) -> dict[ClientId, Float32[np.ndarray, " d"]]:
    deltas = {one.client: one.delta for one in trained}
    hostile = tuple(sorted(setting.hostile & set(deltas)))
    if not hostile or setting.attack is None:
        return deltas
    honest = [deltas[client] for client in sorted(deltas) if client not in setting.hostile]
    seen = np.stack(honest) if honest else np.empty((0, setting.bound.layout.size), np.float32)
    own = np.stack([deltas[client] for client in hostile])
    forged = setting.attack.forge(seen, own, hostile, setting.key.fold("attack", round_))
    return deltas | dict(zip(hostile, forged, strict=True))


def _at(setting: Setting, round_: int, client: ClientId) -> At:
    key = setting.key.fold("layers", round_, client)
    samples = len(setting.split.train[client])
    return At(setting.epoch, round_, client, key, setting.bound.layout, samples)


def _encode(
    setting: Setting, round_: int, deltas: Mapping[ClientId, Float32[np.ndarray, " d"]]
) -> tuple[dict[ClientId, bytes], list[dict[str, Any]]]:
    payloads, unsent = {}, []
    for client in sorted(deltas):
        try:
            payloads[client] = setting.bound.encode(deltas[client], _at(setting, round_, client))
        except PayloadError as error:
            unsent.append({"client": client, "reason": f"not sent: {error}"})
    return payloads, unsent


def _receive(
    setting: Setting, round_: int, on_time: Mapping[ClientId, bytes], late: Mapping[ClientId, bytes]
) -> Arrived:
    decoded, refused = {}, []
    for client, payload in [*late.items(), *sorted(on_time.items())]:
        try:
            decoded[client] = setting.bound.decode(payload, _at(setting, round_, client))
        except PayloadError as error:
            refused.append({"client": client, "reason": str(error)})
    total = sum(len(payload) for payload in (*late.values(), *on_time.values()))
    return Arrived(decoded, tuple(refused), total)


def _aggregate(
    setting: Setting, state: RunState, round_: int, arrived: Arrived
) -> tuple[Reduced | None, Float32[np.ndarray, " d"], State, State]:
    if len(arrived.decoded) < setting.bound.minimum_clients():
        return None, state.model, state.reduce, state.server
    clients = tuple(sorted(arrived.decoded))
    weights = np.array([len(setting.split.train[client]) for client in clients], np.float64)
    cohort = Cohort(np.stack([arrived.decoded[client] for client in clients]), weights, clients, setting.bound.layout)
    validation = setting.split.validation
    objective = (lambda delta: setting.engine.gradient(state.model + delta, validation)) if len(validation) else None
    at = ServerAt(round_, setting.key.fold("reduce", round_), setting.bound.layout, state.model, objective)
    reduced, reduce_state = setting.bound.reduce(cohort, state.reduce, at)
    model, server_state = setting.arm.server.step(state.model, reduced.vector, state.server)
    if not np.isfinite(model).all():
        diagnostics = {**reduced.diagnostics, "not_finite": 1.0}
        return replace(reduced, diagnostics=diagnostics), state.model, state.reduce, state.server
    return reduced, model, reduce_state, server_state


def _close(setting: Setting, state: RunState, jobs: list[Job], arrived: Arrived, reduced: Reduced | None) -> State:
    if reduced is None:
        return state.local
    spent = float(np.mean([job.rates.sum() for job in jobs]))
    population = len(setting.bound.population)
    return setting.arm.local.close(reduced.vector, spent, len(arrived.decoded), population, state.local)


def _remember(
    setting: Setting, state: RunState, jobs: list[Job], trained: list[Trained], arrived: Arrived, local: State
) -> dict[ClientId, State]:
    clients = dict(state.clients)
    for job, one in zip(jobs, trained, strict=True):
        if one.client not in arrived.decoded:
            continue
        own = clients.get(one.client, EMPTY)
        kept = setting.arm.local.finish(job, arrived.decoded[one.client], local, _method_state(setting, own))
        memory = {f"method/{name}": value for name, value in kept.items()}
        if setting.arm.training.keep_state:
            memory |= {f"optimizer/{name}": value for name, value in one.state.items()}
        if memory:
            clients[one.client] = memory
    return clients
