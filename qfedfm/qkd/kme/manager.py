"""A key manager: its store, its links, and how a request becomes keys at both ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from qfedfm.core.errors import KeyRefusedError, KeyServiceError, KeyShortageError
from qfedfm.qkd.keystore import Given, KeyStore, Plan
from qfedfm.qkd.kme.limits import Limits, Refused
from qfedfm.qkd.kme.link import DOWN, Link
from qfedfm.qkd.kme.messages import ANSWER_BITS, Alive, Assign, Feed, Status, unpacked
from qfedfm.qkd.kme.settings import Peer, Settings
from qfedfm.qkd.units import needed

_PAUSE = 0.1


class KeyManager:
    """What the service does once it knows who asks.

    Args:
        settings: who is where.
        store: of this key manager.
        links: to each peer, by its id.
        limits: of a request.
    """

    def __init__(
        self,
        settings: Settings,
        store: KeyStore,
        links: Mapping[str, Link],
        limits: Limits | None = None,
    ) -> None:
        self.settings, self.store, self.links = settings, store, links
        self.limits = Limits() if limits is None else limits
        self._places = {sae: peer for peer in settings.peers for sae in peer.saes}

    @property
    def label(self) -> str:
        """What the links are, and are not."""
        return "; ".join(dict.fromkeys(link.label for link in self.links.values()))

    async def status(self, master: str, slave: str) -> Status:
        """Clause 6.1, for keys that ``master`` would start.

        Raises:
            Refused: nobody knows the slave.
        """
        peer = self._place((slave,))
        each, link = needed(self.limits.key_size), self.links[peer.id]
        free = await asyncio.to_thread(self.store.free, peer.id)
        return Status(
            source_KME_ID=self.settings.id,
            target_KME_ID=peer.id,
            master_SAE_ID=master,
            slave_SAE_ID=slave,
            key_size=self.limits.key_size,
            stored_key_count=free // each,
            max_key_count=self.store.capacity // each,
            max_key_per_request=self.limits.max_key_per_request,
            max_key_size=self.limits.max_key_size,
            min_key_size=self.limits.min_key_size,
            max_SAE_ID_count=self.limits.max_SAE_ID_count,
            status_extension={"label": link.label, "link": link.state},
        )

    async def keys(self, master: str, slaves: Sequence[str], number: int, size: int) -> list[Given]:
        """New keys, which both ends have committed to when they are returned.

        Raises:
            Refused: a slave that nobody knows, slaves at several key managers, or the link is down.
            KeyShortageError: too few units, after waiting where the settings say so.
            KeyServiceError: the other end did not confirm; the keys are burnt.
        """
        peer = self._place(slaves)
        if self.links[peer.id].state == DOWN:
            raise Refused(503, f"the link to {peer.id} is down")
        plan = await self._reserved(peer, master, slaves, number, size)
        try:
            await self.links[peer.id].assign(plan)
        except KeyServiceError:
            await asyncio.to_thread(self.store.abandon, peer.id, plan)
            raise
        try:
            return await asyncio.to_thread(self.store.give, peer.id, plan)
        except KeyRefusedError:
            raise KeyShortageError("the reservation expired before the other end confirmed", "", "ask again") from None

    async def collect(self, sae: str, master: str, key_ids: Sequence[str]) -> list[Given]:
        """Keys that another party started, once for each receiver and no more than one answer holds.

        Raises: see `KeyStore.collect`.
        """
        return await asyncio.to_thread(self.store.collect, sae, master, key_ids, ANSWER_BITS)

    async def fed(self, peer: Peer, message: Feed) -> None:
        """Takes new units of a peer's; see `KeyStore.put`."""
        units = {unit.number: unpacked(unit.key) for unit in message.units}
        await asyncio.to_thread(self.store.put, peer.id, False, units, message.label)

    async def assigned(self, peer: Peer, message: Assign) -> None:
        """Commits to keys that a peer starts; see `KeyStore.accept`.

        Raises:
            Refused: the master is not the peer's, a slave is not this key manager's, or an id is named twice.
        """
        ours = set(message.slave_SAE_IDs) <= set(self.settings.saes)
        units = {str(key.key_ID): key.units for key in message.keys}
        if message.master_SAE_ID not in peer.saes or not ours or len(units) != len(message.keys):
            raise Refused(400, "a master of the sender's and slaves of the receiver's shall share different keys")
        if len(set(message.slave_SAE_IDs)) != len(message.slave_SAE_IDs):
            raise Refused(400, "slave SAE IDs shall be different")
        plan = Plan(message.master_SAE_ID, message.slave_SAE_IDs, message.size, units)
        await asyncio.to_thread(self.store.accept, peer.id, plan)

    async def alive(self, peer: Peer, message: Alive) -> Alive:
        """Burns units of a peer's that it lacks; tells which of them are here, and whether this end is up."""
        numbers = await asyncio.to_thread(self.store.numbers, peer.id, False)
        await asyncio.to_thread(self.store.keep, peer.id, False, message.among(numbers))
        return Alive.of(await asyncio.to_thread(self.store.numbers, peer.id, False), self.links[peer.id].word)

    def _place(self, slaves: Sequence[str]) -> Peer:
        """The peer that serves all of them."""
        unknown = [sae for sae in slaves if sae not in self._places]
        if unknown:
            raise Refused(400, "slave SAE ID is not known at a linked KME", ({"slave_SAE_IDs": unknown},))
        peers = {self._places[sae].id: self._places[sae] for sae in slaves}
        if len(peers) > 1:
            raise Refused(400, "all slave SAEs shall be at one KME", ({"target_KME_IDs": sorted(peers)},))
        return next(iter(peers.values()))

    async def _reserved(self, peer: Peer, master: str, slaves: Sequence[str], number: int, size: int) -> Plan:
        """By the policy for low keys."""
        last = time.monotonic() + (self.settings.patience if self.settings.low_keys == "wait" else 0.0)
        while True:
            try:
                return await asyncio.to_thread(self.store.reserve, peer.id, master, slaves, number, size)
            except KeyShortageError:
                if time.monotonic() >= last:
                    raise
            await asyncio.sleep(_PAUSE)
