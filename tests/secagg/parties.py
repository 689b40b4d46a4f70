"""Clients and servers of a round, driven step by step by the tests."""

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from qfedfm.core.key import Key
from qfedfm.qkd.entropy import Seeded
from qfedfm.secagg.client import Client
from qfedfm.secagg.identity import Identity
from qfedfm.secagg.plan import Plan
from qfedfm.secagg.protocol import Member
from qfedfm.secagg.server import Opened, Server

STEPS = ("advertise", "share", "mask", "consent", "reveal")


@cache
def identity(client: int) -> Identity:
    return Identity.new()


def publics(clients) -> dict[int, bytes]:
    return {client: identity(client).public for client in clients}


def members(clients, seed: int | None = None) -> dict[int, Member]:
    known = publics(clients)
    entropy = {client: None if seed is None else Seeded(Key.of(seed).fold(client)) for client in clients}
    return {client: Member(client, identity(client), known, entropy[client]) for client in clients}


def plan_of(clients, length: int = 6, colluders: int = 0, **options) -> Plan:
    options = {
        "epoch": 0,
        "round": 1,
        "layout": b"layout__",
        "stack": b"stack___",
        "bound": 1000,
        "max_weight": 50,
    } | options
    return Plan(clients=tuple(clients), length=length, colluders=colluders, **options)


def inputs_of(plan: Plan, seed: int = 0) -> dict[int, tuple[np.ndarray, int]]:
    """The extremes among them."""
    rng, b = np.random.default_rng(seed), plan.bound
    return {
        client: (
            rng.choice([-b, b, 0, int(rng.integers(-b, b + 1))], plan.length),
            int(rng.choice([1, plan.max_weight, int(rng.integers(1, plan.max_weight + 1))])),
        )
        for client in plan.clients
    }


def plain(inputs, clients) -> tuple[list[int], int]:
    """The weighted sum in Python's own integers."""
    length = len(next(iter(inputs.values()))[0])
    sums = [sum(inputs[client][1] * int(inputs[client][0][i]) for client in clients) for i in range(length)]
    return sums, sum(inputs[client][1] for client in clients)


def same(opened: Opened, inputs) -> bool:
    return (opened.total.tolist(), opened.weight) == plain(inputs, opened.survivors)


@dataclass
class Table:
    """A round whose messages a test may alter, step by step."""

    plan: Plan
    seed: int = 1
    inputs: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server = Server(self.plan, publics(self.plan.clients))
        known = members(self.plan.clients, self.seed)
        self.clients: dict[int, Client] = {client: known[client].join(self.plan) for client in self.plan.clients}
        self.inputs = self.inputs or inputs_of(self.plan)
        self.down: dict[int, bytes] = {}
        self.gone: set[int] = set()

    def up(self, step: str) -> dict[int, bytes]:
        """What the clients send at a step."""
        given = {"mask": lambda client: self.inputs[client]}.get(step, lambda client: ())
        first = step == "advertise"
        left = [client for client in self.clients if client not in self.gone and (first or client in self.down)]
        received = {client: () if first else (self.down[client],) for client in left}
        return {client: getattr(self.clients[client], step)(*received[client], *given(client)) for client in left}

    def answer(self, step: str, messages: dict[int, bytes]) -> Opened | None:
        """Hands messages to the server and its answer to the clients."""
        if step == "mask":
            for client, message in messages.items():
                self.server.masked(client, message)
            answer = self.server.survivors()
        else:
            name = {"advertise": "advertised", "share": "shared", "consent": "consented", "reveal": "opened"}[step]
            answer = getattr(self.server, name)(messages)
        if step == "reveal":
            return answer
        self.down = answer if step == "share" else dict.fromkeys(self.clients, answer)
        return None

    def until(self, last: str) -> "Table":
        """All steps up to, but not including, the last."""
        for step in STEPS[: STEPS.index(last)]:
            self.answer(step, self.up(step))
        return self

    def finish(self, step: str, messages: dict[int, bytes]) -> Opened:
        """From a step with altered messages to the end."""
        opened = self.answer(step, messages)
        for later in STEPS[STEPS.index(step) + 1 :]:
            opened = self.answer(later, self.up(later))
        return opened
