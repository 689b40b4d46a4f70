"""One end of a link between two key managers: fills both stores with the same units and keeps them the same.

Each end owns units, feeds them to both stores, and tells the other end which of them become which key. All of it goes
over mutual TLS between the key managers, in three messages of their own (the standard leaves this to the vendor):

==============  ============================================================  ===============
``units``       new units of the sender's                                     `Feed`
``keys``        which of the sender's units become which key, for whom        `Assign`
``alive``       which units the sender has; the answer is what of them the    `Alive`
                receiver has, and each burns what the other lacks; both say
                whether the feeding of their end has failed
==============  ============================================================  ===============

A real link brings its bits to both ends itself and puts them into the stores with `KeyStore.put`; then nothing but
``keys`` and ``alive`` travels. All links here are **simulated**: the bits come from the operating system of one end, or
from sessions of both parties in its process (`qfedfm.qkd.kme.quantum`), and travel under TLS, so that they are no safer
than that, and every key says so.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import UUID

import aiohttp

from qfedfm.core.errors import KeyServiceError, KeyShortageError, PayloadError, QfedfmError
from qfedfm.qkd.entropy import Entropy, System
from qfedfm.qkd.keystore import KeyStore, Plan
from qfedfm.qkd.kme.messages import BODY, Alive, Assign, Body, Feed, KeyPlan, Problem, UnitMessage, packed, parsed
from qfedfm.qkd.kme.settings import Peer
from qfedfm.qkd.units import UNIT

SIMULATED = "simulated, not QKD-secure"
DOWN = "down"
_log = logging.getLogger(__name__)
_BATCH, _IDLE, _RETRY, _PATIENCE, _ALIVE = 256, 0.2, 0.5, 10.0, 5.0
"""Units in a message; seconds between looks at a full store, after a failure, for an answer, and between `alive`."""
_DISTURBED = 5.0
"""Seconds after a link that gave no key: whoever disturbs it shall not fill the log."""


@dataclass
class Feeder:
    """Where the bits of a link are from.

    Args:
        take: gives the next secret bytes, as many as it likes; none when there are none now. It may take its time, and
            raise `KeyShortageError` when the link is down.
        label: what the link is, and is not; every key carries it.
        slow: whether taking takes so long that units leave as soon as there are some.

    Example:
        >>> len(Feeder.simulated().units(2)[1])
        32
    """

    take: Callable[[], bytes] = field(repr=False)
    label: str
    slow: bool = False
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
        enough = min(most, 1 if self.slow else most) * step
        with self._lock:  # several links may take from it, and none what another has
            while len(self._rest) < enough:
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
        feeder: of this end's units.
    """

    def __init__(
        self, store: KeyStore, peer: Peer, session: aiohttp.ClientSession, context: ssl.SSLContext, feeder: Feeder
    ) -> None:
        self.store, self.peer, self._session, self._context, self._feeder = store, peer, session, context, feeder
        self._settled, self._asked, self._theirs, self._failure = False, 0.0, "up", ""
        self.state = "not up yet"
        """``up``, ``down`` after an error that nobody foresaw, or why there are no new units."""

    @property
    def label(self) -> str:
        """What the link is, and is not."""
        return self._feeder.label

    @property
    def word(self) -> Literal["up", "down"]:
        """What this end tells the other one."""
        return "down" if self.state == DOWN else "up"

    async def run(self, rate: float) -> None:
        """Feeds both stores with ``rate`` bits a second until it is cancelled; goes on after every error."""
        while True:
            [done] = await asyncio.gather(self._turn(rate), return_exceptions=True)
            await asyncio.sleep(self._failed(done) if isinstance(done, BaseException) else done)

    async def _turn(self, rate: float) -> float:
        """Feeds once; gives the seconds until the next turn."""
        if not self._settled or time.monotonic() > self._asked + _ALIVE:
            await self.settle()
        pause = await self.fill() * UNIT / rate or _IDLE
        self._say("up" if self._theirs == "up" else f"up here, down at {self.peer.id}", logging.INFO)
        return pause

    def _failed(self, error: BaseException) -> float:
        """Shows an error. The words of one that nobody foresaw may hold a key: only its kind and place are told."""
        if isinstance(error, KeyShortageError):
            self._say(str(error), logging.WARNING)
            return _DISTURBED
        if isinstance(error, QfedfmError):
            self._say(str(error), logging.INFO)
        else:
            self._settled = False
            frames = traceback.extract_tb(error.__traceback__)[::-1]
            where = ", called at ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
            self._say(DOWN, logging.ERROR, f" by {type(error).__name__} at {where}")
        return _RETRY

    async def fill(self) -> int:
        """Adds units to both stores, at the other end first; gives how many."""
        room = self.store.capacity - len(await asyncio.to_thread(self.store.numbers, self.peer.id, True))
        secrets = await asyncio.to_thread(self._feeder.units, max(0, min(room, _BATCH)))
        if not secrets:
            return 0
        first = await asyncio.to_thread(self.store.number, self.peer.id, len(secrets))
        units = dict(enumerate(secrets, first))
        self._settled = False  # until both ends have them
        told = tuple(UnitMessage(number=number, key=packed(secret)) for number, secret in units.items())
        await self._post("units", Feed(label=self.label, units=told))
        await asyncio.to_thread(self.store.put, self.peer.id, True, units, self.label)
        self._settled = True
        return len(units)

    async def settle(self) -> None:
        """Each end burns the units that the other one lacks, as there are after a failure, and says how it is."""
        ours = await asyncio.to_thread(self.store.numbers, self.peer.id, True)
        theirs = parsed(Alive, await self._post("alive", Alive.of(ours, self.word)))
        await asyncio.to_thread(self.store.keep, self.peer.id, True, theirs.among(ours))
        self._settled, self._asked, self._theirs = True, time.monotonic(), theirs.link

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

    def _say(self, state: str, level: int, failure: str = "") -> None:
        """Logs a change of state once."""
        if (state, failure) != (self.state, self._failure):
            _log.log(level, "link to %s: %s%s", self.peer.id, state, failure)
        self.state, self._failure = state, failure


def _said(body: bytes) -> str:
    """What an error says, in a line that is not too long."""
    try:
        return " ".join(parsed(Problem, body).message.split())[:200]
    except PayloadError:
        return "without a message"
