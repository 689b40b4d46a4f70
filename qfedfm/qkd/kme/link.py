"""One end of a link between two key managers: fills both stores with the same units and keeps them the same.

Each end owns units, feeds them to both stores, and tells the other end which of them become which key. All of it goes
over mutual TLS between the key managers, in three messages of their own (the standard leaves this to the vendor):

==============  ============================================================  ===============
``units``       new units of the sender's                                     `Feed`
``keys``        which of the sender's units become which key, for whom        `Assign`
``alive``       which units the sender has; the answer is what of them the    `Alive`
                receiver has, and each burns what the other lacks
==============  ============================================================  ===============

A real link brings its bits to both ends itself and puts them into the stores with `KeyStore.put`; then nothing but
``keys`` and ``alive`` travels. The default here is **simulated**: the bits come from the operating system of one end
and travel under TLS, so that they are no safer than that, and every key says so.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import aiohttp

from qfedfm.core.errors import KeyServiceError, PayloadError, QfedfmError
from qfedfm.qkd.entropy import Entropy, System
from qfedfm.qkd.keystore import KeyStore, Plan
from qfedfm.qkd.kme.messages import BODY, Alive, Assign, Body, Feed, KeyPlan, Problem, UnitMessage, packed, parsed
from qfedfm.qkd.kme.settings import Peer
from qfedfm.qkd.units import UNIT

SIMULATED = "simulated, not QKD-secure"
_log = logging.getLogger(__name__)
_BATCH, _IDLE, _RETRY, _PATIENCE = 256, 0.2, 0.5, 10.0
"""Units in a message; seconds between looks at a full store, after a failure, and for an answer."""


@dataclass
class Feeder:
    """Where the bits of a link are from.

    Args:
        take: gives the next secret bytes, as many as it likes; none when there are none now. It may take its time, and
            raise `KeyShortageError` when the link is down.
        label: what the link is, and is not; every key carries it.

    Example:
        >>> len(Feeder.simulated().units(2)[1])
        32
    """

    take: Callable[[], bytes] = field(repr=False)
    label: str
    _rest: bytes = field(default=b"", init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @classmethod
    def simulated(cls, entropy: Entropy | None = None) -> Feeder:
        """Bits of the operating system in the place of a link's."""
        source = System() if entropy is None else entropy
        return cls(lambda: source.bytes(1024), SIMULATED if source.secret else f"{SIMULATED}; {source.label}")

    def units(self, most: int) -> list[bytes]:
        """At most so many units; what is left of the last bytes waits for the next call."""
        step = UNIT // 8
        with self._lock:  # several links may take from it, and none what another has
            while len(self._rest) < most * step:
                more = self.take()
                if not more:
                    break
                self._rest += more
            count = min(most, len(self._rest) // step)
            taken, self._rest = self._rest[: count * step], self._rest[count * step :]
        return [taken[at : at + step] for at in range(0, len(taken), step)]


class Link:
    """This end of the link to one peer.

    Args:
        store: of this end.
        peer: the other end.
        session: for requests.
        context: mutual TLS with this end's certificate. The peer must show one that names it as a host.
    """

    def __init__(self, store: KeyStore, peer: Peer, session: aiohttp.ClientSession, context: ssl.SSLContext) -> None:
        self.store, self.peer, self._session, self._context = store, peer, session, context
        self._settled = False
        self.state = "not up yet"
        """``up``, or why not."""

    async def run(self, feeder: Feeder, rate: float) -> None:
        """Feeds both stores with ``rate`` bits a second until it is cancelled; goes on when the peer comes back."""
        while True:
            try:
                if not self._settled:
                    await self.settle()
                pause = await self.fill(feeder) * UNIT / rate or _IDLE
                self._say("up")
            except QfedfmError as error:
                self._say(str(error))
                pause = _RETRY
            await asyncio.sleep(pause)

    async def fill(self, feeder: Feeder) -> int:
        """Adds units to both stores, at the other end first; gives how many."""
        room = self.store.capacity - len(await asyncio.to_thread(self.store.numbers, self.peer.id, True))
        secrets = await asyncio.to_thread(feeder.units, max(0, min(room, _BATCH)))
        if not secrets:
            return 0
        first = await asyncio.to_thread(self.store.number, self.peer.id, len(secrets))
        units = dict(enumerate(secrets, first))
        self._settled = False  # until both ends have them
        told = tuple(UnitMessage(number=number, key=packed(secret)) for number, secret in units.items())
        await self._post("units", Feed(label=feeder.label, units=told))
        await asyncio.to_thread(self.store.put, self.peer.id, True, units, feeder.label)
        self._settled = True
        return len(units)

    async def settle(self) -> None:
        """After a failure: each end burns the units that the other one lacks."""
        ours = await asyncio.to_thread(self.store.numbers, self.peer.id, True)
        theirs = parsed(Alive, await self._post("alive", Alive.of(ours)))
        await asyncio.to_thread(self.store.keep, self.peer.id, True, theirs.among(ours))
        self._settled = True

    async def assign(self, plan: Plan) -> None:
        """Has the other end commit to keys.

        Raises:
            KeyServiceError: it did not confirm; whether it has committed is not known.
        """
        keys = tuple(KeyPlan(key_ID=UUID(key_id), units=units) for key_id, units in plan.units.items())
        message = Assign(master_SAE_ID=plan.master, slave_SAE_IDs=plan.slaves, size=plan.size, keys=keys)
        try:
            await self._post("keys", message)
        except KeyServiceError:
            self._settled = False
            raise

    async def _post(self, name: str, message: Body) -> bytes:
        url = f"{self.peer.url.rstrip('/')}/peer/v1/{name}"
        try:
            async with self._session.post(
                url,
                data=message.model_dump_json().encode(),
                ssl=self._context,
                server_hostname=self.peer.id,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_PATIENCE),
            ) as answer:
                body = b""
                async for piece in answer.content.iter_chunked(1 << 14):
                    body += piece
                    if len(body) > BODY:
                        raise KeyServiceError(f"an answer of {self.peer.id} beyond {BODY} bytes")
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            given = f"key manager {self.peer.id} does not answer ({type(error).__name__})"
            raise KeyServiceError(given, "a key manager at its url that shows its certificate") from None
        if answer.status != 200:
            raise KeyServiceError(f"key manager {self.peer.id} refuses {name}: {answer.status} {_said(body)}")
        return body

    def _say(self, state: str) -> None:
        """Logs a change of state once."""
        if state != self.state:
            _log.info("link to %s: %s", self.peer.id, state)
        self.state = state


def _said(body: bytes) -> str:
    """What an error says, in a line that is not too long."""
    try:
        return " ".join(parsed(Problem, body).message.split())[:200]
    except PayloadError:
        return "without a message"
