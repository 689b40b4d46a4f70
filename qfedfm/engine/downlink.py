"""What the server sends each round: the model, and the local method's state, in the same wire format as updates."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from qfedfm.core import wire
from qfedfm.core.cohort import State
from qfedfm.core.errors import PayloadError
from qfedfm.core.layout import Layout

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
    sizes = {name: int(np.asarray(template[name]).size) for name in sorted(template)}
    length = 4 * (layout.size + sum(sizes.values()))
    expected = wire.Frame(epoch, round_, wire.EVERYONE, layout.digest, _STACK, wire.DOWN)
    body, _ = wire.unframe(payload, expected, length)
    if len(body) != length:
        raise PayloadError(f"a broadcast of {len(body)} bytes", f"{length}")
    numbers = np.frombuffer(body, "<f4").astype(np.float32)
    if not np.isfinite(numbers).all():
        raise PayloadError("a broadcast with a number that is not finite", "finite numbers only")
    state, start = {}, layout.size
    for name, size in sizes.items():
        state[name] = numbers[start : start + size].reshape(np.asarray(template[name]).shape)
        start += size
    return numbers[: layout.size], state
