"""What the server sends each round, in the same wire format as updates.

Without a codec that is the model and the local method's state in one message; with one, the difference to what the
clients have (`Chain`), or the whole model to those that lack more than that would cost, and the state as it is. A
client that holds lower ranks gets what it holds of the model, and starts from zeros elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from qfedfm.core import wire
from qfedfm.core.cohort import EMPTY, ClientId, State
from qfedfm.core.errors import PayloadError
from qfedfm.core.layout import Layout
from qfedfm.core.stack import Bound
from qfedfm.engine.chain import Chain, Way
from qfedfm.engine.state import RunState

_STACK = bytes(8)


def broadcast(model: Float32[np.ndarray, " d"], state: State, layout: Layout, epoch: int, round_: int) -> bytes:
    """One payload for all clients: the model, then the arrays of the state in the order of their names, as float32."""
    parts = [model, *(np.asarray(state[name]).reshape(-1) for name in sorted(state))]
    body = b"".join(part.astype("<f4", copy=False).tobytes() for part in parts)
    return wire.frame(body, wire.Frame(epoch, round_, wire.EVERYONE, layout.digest, _STACK, wire.DOWN))


def receive(
    payload: bytes, template: State, layout: Layout, epoch: int, round_: int
) -> tuple[Float32[np.ndarray, " d"], State]:
    """A client's reading of a broadcast; ``template`` gives names and shapes of the state.

    Raises:
        PayloadError: damaged, of another round, or not as long as the layout and the template ask for.
    """
    numbers = _numbers(payload, layout.size + _size(template), layout, epoch, round_)
    return numbers[: layout.size], _split(numbers[layout.size :], template)


def receive_state(payload: bytes, template: State, layout: Layout, epoch: int, round_: int) -> State:
    """A client's reading of a broadcast of the state alone; see `receive`."""
    return _split(_numbers(payload, _size(template), layout, epoch, round_), template)


def _size(template: State) -> int:
    return sum(int(np.asarray(value).size) for value in template.values())


def _numbers(payload: bytes, count: int, layout: Layout, epoch: int, round_: int) -> Float32[np.ndarray, " n"]:
    length = 4 * count
    expected = wire.Frame(epoch, round_, wire.EVERYONE, layout.digest, _STACK, wire.DOWN)
    body, _ = wire.unframe(payload, expected, length)
    if len(body) != length:
        raise PayloadError(f"a broadcast of {len(body)} bytes", f"{length}")
    numbers = np.frombuffer(body, "<f4").astype(np.float32)
    if not np.isfinite(numbers).all():
        raise PayloadError("a broadcast with a number that is not finite", "finite numbers only")
    return numbers


def _split(numbers: Float32[np.ndarray, " n"], template: State) -> State:
    state, start = {}, 0
    for name in sorted(template):
        shape = np.asarray(template[name]).shape
        stop = start + int(np.prod(shape))
        state[name] = numbers[start:stop].reshape(shape)
        start = stop
    return state


@dataclass(frozen=True)
class Sent:
    """What has gone down in a round.

    Args:
        models: what each invited client starts from.
        local: the local method's state, as clients have it.
        bytes: of all messages to all invited clients.
        chain: after the round's message.
    """

    models: Mapping[ClientId, Float32[np.ndarray, " d"]]
    local: State
    bytes: int
    chain: Chain


def send_down(state: RunState, invited: Iterable[ClientId], way: Way | None, bound: Bound, epoch: int) -> Sent:
    """Sends a round's model to the invited clients; ``way`` is None where it goes down whole."""
    return _whole(state, invited, bound, epoch) if way is None else _difference(state, invited, way, epoch)


def _whole(state: RunState, invited: Iterable[ClientId], bound: Bound, epoch: int) -> Sent:
    received: dict[tuple[int | None, bytes], tuple[Float32[np.ndarray, " d"], int]] = {}
    models, local, count = {}, state.local, 0
    for client in invited:
        holding = bound.holding(client)
        layout, kind = holding.layout, (state.clusters.members.get(client), holding.layout.digest)
        if kind not in received:
            model = holding.narrow(state.clusters.of(client, state.model))
            payload = broadcast(model, state.local, layout, epoch, state.round + 1)
            numbers, local = receive(payload, state.local, layout, epoch, state.round + 1)
            received[kind] = holding.widen(numbers), len(payload)
        models[client], length = received[kind]
        count += length
    return Sent(models, local, count, state.chain)


def _difference(state: RunState, invited: Iterable[ClientId], way: Way, epoch: int) -> Sent:
    """Clients decode what the server decodes, so that one reconstruction stands for all of them."""
    number, clients, layout = state.round + 1, tuple(invited), way.layout
    chain = state.chain.advanced(state.model, number, way)
    model = state.model if chain.model is None else chain.model
    whole = len(broadcast(model, EMPTY, layout, epoch, number))
    apart, local = 0, state.local
    if state.local:
        payload = broadcast(model[:0], state.local, layout, epoch, number)
        apart, local = len(payload), receive_state(payload, state.local, layout, epoch, number)
    count = 0
    for client in clients:
        lacking = chain.missing(client, number)
        count += apart + (whole if lacking is None else min(whole, sum(map(len, lacking))))
    return Sent(dict.fromkeys(clients, model), local, count, chain)
