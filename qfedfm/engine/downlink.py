"""What the server sends each round, in the same wire format as updates.

Without a codec that is the model and the local method's state in one message; with one, the difference to what the
clients have (`Chain`), or the whole model to those that lack more than that would cost, and the state as it is. A
client that holds lower ranks gets what it holds of the model, and starts from zeros elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from qfedfm.core import wire
from qfedfm.core.cohort import EMPTY, ClientId, State
from qfedfm.core.errors import AgreementError, KeyServiceError, KeyShortageError, PayloadError
from qfedfm.core.layout import Layout
from qfedfm.core.stack import Bound
from qfedfm.engine.chain import Chain, Way
from qfedfm.engine.security import Ends
from qfedfm.engine.state import RunState

_STACK = bytes(8)


def broadcast(model: Float32[np.ndarray, " d"], state: State, layout: Layout, epoch: int, round_: int) -> bytes:
    """One payload for all clients: the model, then the arrays of the state in the order of their names, as float32."""
    parts = [model, *(np.asarray(state[name]).reshape(-1) for name in sorted(state))]
    body = b"".join(part.astype("<f4", copy=False).tobytes() for part in parts)
    return wire.frame(body, wire.Frame(epoch, round_, wire.EVERYONE, layout.digest, _STACK, wire.DOWN))


def receive(
    payload: wire.Bytes, template: State, layout: Layout, epoch: int, round_: int
) -> tuple[Float32[np.ndarray, " d"], State]:
    """A client's reading of a broadcast; ``template`` gives names and shapes of the state.

    Raises:
        PayloadError: damaged, of another round, or not as long as the layout and the template ask for.
    """
    numbers = _numbers(payload, layout.size + _size(template), layout, epoch, round_)
    return numbers[: layout.size], _split(numbers[layout.size :], template)


def receive_state(payload: wire.Bytes, template: State, layout: Layout, epoch: int, round_: int) -> State:
    """A client's reading of a broadcast of the state alone; see `receive`."""
    return _split(_numbers(payload, _size(template), layout, epoch, round_), template)


def _size(template: State) -> int:
    return sum(int(np.asarray(value).size) for value in template.values())


def _numbers(payload: wire.Bytes, count: int, layout: Layout, epoch: int, round_: int) -> Float32[np.ndarray, " n"]:
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
        unreached: clients without a model, because there was no key for them, and why.
    """

    models: Mapping[ClientId, Float32[np.ndarray, " d"]]
    local: State
    bytes: int
    chain: Chain
    unreached: Mapping[ClientId, str] = field(default_factory=dict)


class _Post:
    """Takes messages to clients, sealed where there are keys.

    Args:
        round_: of the messages.
        bound: has the seals, and says what each client holds.
        epoch: of the session.
        ends: the keys; None where nothing is sealed.
    """

    def __init__(self, round_: int, bound: Bound, epoch: int, ends: Ends | None) -> None:
        self._round, self._bound, self._epoch, self._ends = round_, bound, epoch, ends
        self.bytes = 0
        self.unreached: dict[ClientId, str] = {}

    def deliver(self, client: ClientId, payload: bytes) -> wire.Bytes | None:
        """What the client reads; None where there is no key for it."""
        if self._ends is None:
            self.bytes += len(payload)
            return payload
        digest, stack = self._bound.holding(client).layout.digest, self._bound.stack.digest
        header = wire.Frame(self._epoch, self._round, client, digest, stack, wire.DOWN)
        try:
            opened, length = self._ends.down(payload, header, self._bound)
        except (KeyShortageError, KeyServiceError, AgreementError) as error:
            self.unreached[client] = f"not reached: {error}"
            return None
        self.bytes += length
        return opened


def send_down(
    state: RunState, invited: Iterable[ClientId], way: Way | None, bound: Bound, epoch: int, ends: Ends | None = None
) -> Sent:
    """Sends a round's model to the invited clients.

    Args:
        state: before the round.
        invited: the clients.
        way: the codec of the way down; None where the model goes down whole.
        bound: the aggregator.
        epoch: of the session.
        ends: the keys; None where nothing is sealed.
    """
    post = _Post(state.round + 1, bound, epoch, ends)
    return _whole(state, invited, bound, epoch, post) if way is None else _difference(state, invited, way, epoch, post)


def _whole(state: RunState, invited: Iterable[ClientId], bound: Bound, epoch: int, post: _Post) -> Sent:
    """Clients of one kind get the same bytes, which are made and read once for all of them."""
    made: dict[tuple[int | None, bytes], bytes] = {}
    read: dict[tuple[int | None, bytes], Float32[np.ndarray, " d"]] = {}
    models, local = {}, state.local
    for client in invited:
        holding = bound.holding(client)
        layout, kind = holding.layout, (state.clusters.members.get(client), holding.layout.digest)
        if kind not in made:
            model = holding.narrow(state.clusters.of(client, state.model))
            made[kind] = broadcast(model, state.local, layout, epoch, state.round + 1)
        payload = post.deliver(client, made[kind])
        if payload is None:
            continue
        if kind not in read:
            numbers, local = receive(payload, state.local, layout, epoch, state.round + 1)
            read[kind] = holding.widen(numbers)
        models[client] = read[kind]
    return Sent(models, local, post.bytes, state.chain, post.unreached)


def _difference(state: RunState, invited: Iterable[ClientId], way: Way, epoch: int, post: _Post) -> Sent:
    """Clients decode what the server decodes, so that one reconstruction stands for all of them."""
    number, layout = state.round + 1, way.layout
    chain = state.chain.advanced(state.model, number, way)
    model = state.model if chain.model is None else chain.model
    whole = broadcast(model, EMPTY, layout, epoch, number)
    apart, local = b"", state.local
    if state.local:
        apart = broadcast(model[:0], state.local, layout, epoch, number)
        local = receive_state(apart, state.local, layout, epoch, number)
    reached = []
    for client in invited:
        lacking = chain.missing(client, number)
        differences = None if lacking is None else b"".join(lacking)
        shorter = whole if differences is None or len(whole) <= len(differences) else differences
        if post.deliver(client, apart + shorter) is not None:
            reached.append(client)
    return Sent(dict.fromkeys(reached, model), local, post.bytes, chain, post.unreached)
