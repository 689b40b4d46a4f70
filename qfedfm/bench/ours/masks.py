"""How long masks take beside the cipher alone: every mask of a complete graph, and the recovery of dropouts apart."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from qfedfm.bench.child import answer, high_water_megabytes, options
from qfedfm.core.key import Key
from qfedfm.secagg.client import Step
from qfedfm.secagg.identity import Identity
from qfedfm.secagg.keystream import BLOCK, Stream
from qfedfm.secagg.plan import Plan
from qfedfm.secagg.protocol import Input, Member, Played, play

_BOUND, _WEIGHT = 2**15 - 1, 1000


def main() -> None:
    """Cipher and protocol in turns: ``{"clients": 50, "size": 300000, "dropouts": 0.3, "repetitions": 3}``."""
    given = options()
    clients, size = int(given["clients"]), int(given["size"])
    silent = round(clients * float(given["dropouts"]))
    plan = _plan(clients, size)
    inputs = _inputs(plan)
    lines = [_line(plan, inputs, silent) for _ in range(int(given["repetitions"]))]
    answer(lines=lines, keystream_megabytes=4e-6 * (size + 1) * clients**2, peak_megabytes=high_water_megabytes())


def _plan(clients: int, size: int) -> Plan:
    colluders = (clients - 1) // 3
    return Plan(0, 1, tuple(range(clients)), bytes(8), bytes(8), size, _BOUND, _WEIGHT, colluders)


def _inputs(plan: Plan) -> dict[int, Input]:
    rng = Key.of(0).fold("masks").numpy()
    return {
        client: (rng.integers(-_BOUND, _BOUND + 1, plan.length), int(rng.integers(1, _WEIGHT + 1)))
        for client in plan.clients
    }


def _line(plan: Plan, inputs: Mapping[int, Input], silent: int) -> dict[str, Any]:
    cipher = min(_cipher_seconds(plan, block) for block in (BLOCK, 4 * (plan.length + 1)))
    whole = _play(plan, inputs, 0)
    some = _play(plan, inputs, silent)
    masking = whole.seconds["mask"] + whole.seconds["add"]
    return {
        "cipher_seconds": cipher,
        "masking_seconds": masking,
        "ratio": masking / cipher,
        "opening_seconds": whole.seconds["open"],
        "recovery_seconds": some.seconds["open"],
        "setup_seconds": whole.seconds["advertise"] + whole.seconds["share"],
        "exact": all(_exact(played, inputs) for played in (whole, some)),
        "uplink_bytes": dict(whole.uplink),
        "downlink_bytes": dict(whole.downlink),
    }


def _cipher_seconds(plan: Plan, block: int) -> float:
    """The keystream of n self masks and n(n − 1) pair masks: each pair mask is computed at both its ends."""
    zeros, buffer, size = bytes(block), bytearray(block + 16), 4 * (plan.length + 1)
    view, keys = memoryview(zeros), [number.to_bytes(32, "little") for number in range(len(plan.clients) ** 2)]
    begin = time.perf_counter()
    for key in keys:
        cipher = Stream.AES.start(key)
        for start in range(0, size, block):
            cipher.update_into(view[: min(block, size - start)], buffer)
    return time.perf_counter() - begin


def _play(plan: Plan, inputs: Mapping[int, Input], silent: int) -> Played:
    identities = {client: Identity.new() for client in plan.clients}
    publics = {client: identity.public for client, identity in identities.items()}
    members = {client: Member(client, identity, publics) for client, identity in identities.items()}
    return play(plan, members, inputs, silent=dict.fromkeys(plan.clients[:silent], Step.MASK))


def _exact(played: Played, inputs: Mapping[int, Input]) -> bool:
    """Whether the sum is the plain one to the last bit."""
    plain = sum(inputs[client][0] * inputs[client][1] for client in played.opened.survivors)
    return bool((played.opened.total == plain).all())


if __name__ == "__main__":
    main()
