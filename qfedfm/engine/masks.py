"""What a run under a summed layer keeps from round to round, and what it cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from qfedfm.core.cohort import ClientId
from qfedfm.core.errors import (
    AgreementError,
    KeyRefusedError,
    KeyServiceError,
    KeyShortageError,
    PayloadError,
    StackError,
)
from qfedfm.core.stack import Stack
from qfedfm.core.summed import Carrier, PairKeys, Parties
from qfedfm.engine.arm import Arm
from qfedfm.engine.keysources import Links
from qfedfm.engine.security import SERVER, client_name
from qfedfm.incentives.participation import Attendance

_NO_KEY = (KeyShortageError, KeyServiceError, KeyRefusedError, AgreementError, PayloadError)
_KEY = 32
"""Bytes of a key of a link."""


@dataclass(frozen=True)
class Masks:
    """The parties of one run with what they need besides their inputs.

    Args:
        run: name of the run.
        parties: with their secrets, which are in no checkpoint: a resumed run has others.
        links: of keys between clients; None where the layer takes none.
    """

    run: str
    parties: Parties = field(repr=False)
    links: Links | None = field(repr=False)

    @classmethod
    def of(cls, run: str, aggregator: Stack, population: Sequence[ClientId], links: Links | None) -> Masks | None:
        """Those of an aggregator; None without a summed layer.

        Args:
            run: name of the run.
            aggregator: the stack.
            population: all clients.
            links: of keys; None for simulated ones.
        """
        if aggregator.summed is None:
            return None
        if aggregator.summed.linked and links is None:
            from qfedfm.qkd.simulated import SimulatedLinks

            links = SimulatedLinks().end
        return cls(run, aggregator.summed.parties(population), links if aggregator.summed.linked else None)

    @property
    def notes(self) -> dict[str, str]:
        """What a record says of where the keys between clients are from."""
        return {} if self.links is None else {"pair_keys": self.links(SERVER).label}

    def pair_keys(self, clients: Sequence[ClientId], carrier: Carrier) -> PairKeys:
        """A fresh key for each pair: the lower id draws it and sends the key's id to the higher, through the server.

        A pair whose link has no key gets none; see `unlinked`.
        """
        keys: dict[ClientId, dict[ClientId, bytes]] = {client: {} for client in clients}
        if self.links is None:
            return keys
        for low in clients:
            for high in (client for client in clients if client > low):
                try:
                    key_id, key = self.links(client_name(low)).fresh(client_name(high), _KEY)
                    arrived = carrier.down(high, carrier.up(low, key_id.encode())).decode()
                    keys[high][low] = self.links(client_name(high)).by_id(client_name(low), arrived)
                    keys[low][high] = key
                except _NO_KEY:
                    continue
        return keys

    def unlinked(self, keys: PairKeys) -> list[ClientId]:
        """Clients to be left out so that all others have a key for each pair: whoever lacks most goes first."""
        if self.links is None:
            return []
        left = set(keys)
        while left:
            lacking = {client: len(left - {client, *keys[client]}) for client in sorted(left)}
            worst = max(lacking, key=lacking.__getitem__)
            if not lacking[worst]:
                break
            left.remove(worst)
        return sorted(set(keys) - left)


def without_late(who: Attendance) -> Attendance:
    """Under a mask an answer after the deadline is a dropout: its masks are gone with its round."""
    return Attendance(who.invited, tuple(sorted({*who.dropped, *who.late})))


def check_summed(arm: Arm, aggregator: Stack) -> None:
    """Refuses what needs to see single updates, or keys whose number nobody can tell beforehand.

    Raises:
        StackError: a selector that looks at updates, or a seal that takes raw bits for each byte.
    """
    if aggregator.summed is None:
        return
    name = aggregator.summed.name
    if arm.selector.watches:
        given = f"selector {arm.selector.name!r} above {name!r}: it looks at single updates, and the server has none"
        raise StackError(given, "a selector that does not look at updates", "take the uniform one")
    for seal in aggregator.seals:
        if seal.needs_raw:
            given = f"seal {seal.name!r} around the messages of {name!r}, whose lengths its budget does not know"
            raise StackError(given, "a seal whose keys serve many messages", "take aes-gcm")
