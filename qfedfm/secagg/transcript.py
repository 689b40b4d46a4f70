"""What both halves of a round compute alike from what clients advertised."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qfedfm.core.errors import RoundError
from qfedfm.secagg.agreement import PUBLIC, small_order
from qfedfm.secagg.graph import Neighbours
from qfedfm.secagg.messages import pack_ids
from qfedfm.secagg.plan import Plan

NONCE = 32
ADVERT = NONCE + PUBLIC
"""Bytes of the body of an advert: a fresh nonce and a public value of X25519, or zeros without a key agreement."""


def weak(plan: Plan, bodies: Mapping[int, bytes | memoryview]) -> list[int]:
    """Clients whose public value gives everybody the same secret: all parties go on as if these had said nothing.

    Args:
        plan: of the round.
        bodies: of the adverts by client.
    """
    return [client for client in sorted(bodies) if plan.agreement and small_order(bytes(bodies[client][NONCE:]))]


@dataclass(frozen=True)
class Transcript:
    """The clients that advertised, a hash of what they said, and the graph that follows from it.

    Args:
        context: SHA-256 of the plan and of all adverts: enters everything that is derived or committed to, so that
            clients to whom the server shows different adverts have no keys in common.
        neighbours: of each client that advertised.
    """

    context: bytes
    neighbours: Neighbours

    @classmethod
    def of(cls, plan: Plan, bodies: Mapping[int, bytes | memoryview]) -> Transcript:
        """From the bodies of the adverts by client.

        Raises:
            RoundError: too few.
        """
        require(plan, bodies, "advertised")
        said = b"".join(client.to_bytes(4, "little") + bodies[client] for client in sorted(bodies))
        context = hashlib.sha256(b"qfedfm adverts" + plan.digest + said).digest()
        return cls(context, plan.graph.neighbours(sorted(bodies), context))

    def statement(self, dealt: Iterable[int], survivors: Iterable[int]) -> bytes:
        """What a client signs: these are the survivors among those whose shares were dealt."""
        listed = pack_ids(sorted(dealt)) + pack_ids(sorted(survivors))
        return hashlib.sha256(b"qfedfm survivors" + self.context + listed).digest()


def require(plan: Plan, clients: Iterable[int], what: str) -> None:
    """Refuses to go on with too few clients.

    Raises:
        RoundError: fewer than the plan's least number of survivors.
    """
    count = len(set(clients))
    if count < plan.survivors_needed:
        given = f"{count} of {len(plan.clients)} clients {what}"
        raise RoundError(given, f"at least {plan.survivors_needed}", "give the round up; nothing has been opened")
