"""ETSI GS QKD 014 V1.1.1 over HTTP: who asks, what for, and the answer.

Who asks is the common name of the certificate that TLS has verified. No header, no part of the URL and nothing in a
body ever stands for it. Answers and errors are the standard's (clauses 5 and 6): 400 for what is wrong with a request,
401 for whoever may not have it, 503 where there are too few keys or the other end is away.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from aiohttp import web

from qfedfm.core.errors import (
    ConfigError,
    KeyRefusedError,
    KeyServiceError,
    KeyShortageError,
    KeyStoreError,
    KeyUnknownError,
    PayloadError,
)
from qfedfm.qkd.keystore import Given
from qfedfm.qkd.kme.limits import Refused
from qfedfm.qkd.kme.manager import KeyManager
from qfedfm.qkd.kme.messages import (
    BODY,
    LABEL,
    NOT_FOUND,
    Alive,
    Assign,
    Body,
    Feed,
    Key,
    KeyContainer,
    KeyIds,
    KeyRequest,
    Problem,
    packed,
    parsed,
)
from qfedfm.qkd.kme.settings import Peer
from qfedfm.qkd.kme.tls import common_name

_log = logging.getLogger(__name__)
_PATIENCE = 10.0
"""Seconds for a body to arrive."""
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """The routes of one key manager.

    Args:
        manager: does what is asked.
    """

    def __init__(self, manager: KeyManager) -> None:
        self._manager = manager
        self._peers = {peer.id: peer for peer in manager.settings.peers}

    def app(self) -> web.Application:
        """The routes of the standard, and those that key managers call."""
        app = web.Application(middlewares=[_explained], client_max_size=BODY)
        keys = "/api/v1/keys/{sae}"
        app.router.add_get(f"{keys}/status", self.status, allow_head=False)
        app.router.add_get(f"{keys}/enc_keys", self.enc_keys, allow_head=False)
        app.router.add_post(f"{keys}/enc_keys", self.enc_keys)
        app.router.add_get(f"{keys}/dec_keys", self.dec_keys, allow_head=False)
        app.router.add_post(f"{keys}/dec_keys", self.dec_keys)
        app.router.add_post("/peer/v1/units", self.units)
        app.router.add_post("/peer/v1/keys", self.keys)
        app.router.add_post("/peer/v1/alive", self.alive)
        return app

    async def status(self, request: web.Request) -> web.Response:
        """Clause 5.1."""
        caller = self._sae(request)
        return _json(await self._manager.status(caller, request.match_info["sae"]))

    async def enc_keys(self, request: web.Request) -> web.Response:
        """Clause 5.2: new keys for the caller, the master."""
        caller = self._sae(request)
        asked = parsed(KeyRequest, await _body(request)) if request.method == "POST" else _query(request)
        number, size, slaves = self._manager.limits.check(asked, request.match_info["sae"])
        given = await self._manager.keys(caller, slaves, number, size)
        _log.info("%d keys of %d bits for %s with %s", number, size, caller, ", ".join(slaves))
        return _container(given)

    async def dec_keys(self, request: web.Request) -> web.Response:
        """Clause 5.3: keys that a master, in the URL, has started for the caller."""
        caller = self._sae(request)
        master = request.match_info["sae"]
        if request.method == "POST":
            asked = [str(entry.key_ID) for entry in parsed(KeyIds, await _body(request)).key_IDs]
        else:
            asked = [str(entry.key_ID) for entry in _one(request).key_IDs]
        given = await self._manager.collect(caller, master, asked)
        _log.info("%d keys of %s for %s", len(given), master, caller)
        return _container(given)

    async def units(self, request: web.Request) -> web.Response:
        """New units of a peer's."""
        peer = self._peer(request)
        await self._manager.fed(peer, parsed(Feed, await _body(request)))
        return web.json_response({})

    async def keys(self, request: web.Request) -> web.Response:
        """Keys that an application of a peer's starts; they are on disk when the answer leaves."""
        peer = self._peer(request)
        await self._manager.assigned(peer, parsed(Assign, await _body(request)))
        return web.json_response({})

    async def alive(self, request: web.Request) -> web.Response:
        """What a peer has, and what of that is here."""
        peer = self._peer(request)
        return _json(await self._manager.alive(peer, parsed(Alive, await _body(request))))

    def _sae(self, request: web.Request) -> str:
        caller = common_name(request.get_extra_info("peercert"))
        if caller not in self._manager.settings.saes:
            raise Refused(401, "the certificate is of no SAE that this KME serves")
        return str(caller)

    def _peer(self, request: web.Request) -> Peer:
        peer = self._peers.get(common_name(request.get_extra_info("peercert")) or "")
        if peer is None:
            raise Refused(401, "the certificate is of no KME that this one is linked with")
        return peer


async def _body(request: web.Request) -> bytes:
    """At most `BODY` bytes, which aiohttp counts while it reads."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await request.read()
    except TimeoutError:
        raise Refused(400, "the body did not arrive") from None


def _query(request: web.Request) -> KeyRequest:
    """Number and size; all else needs POST."""
    found: dict[str, int] = {}
    for name, text in request.query.items():
        if name not in ("number", "size") or name in found:
            raise Refused(400, "GET takes number and size, each once; use POST for the rest")
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise Refused(400, f"{name} shall be a whole number")
        found[name] = int(text)
    return KeyRequest(number=found.get("number", 1), size=found.get("size"))


def _one(request: web.Request) -> KeyIds:
    """The id in a URL."""
    given = request.query.getall("key_ID", [])
    if len(given) != 1 or len(request.query) != 1:
        raise Refused(400, "GET takes one key_ID; use POST for more")
    return parsed(KeyIds, json.dumps({"key_IDs": [{"key_ID": given[0]}]}).encode())


def _container(given: Sequence[Given]) -> web.Response:
    keys = tuple(Key(key_ID=UUID(each.key_id), key=packed(each.secret)) for each in given)
    label = "; ".join(dict.fromkeys(each.label for each in given))[:LABEL]
    return _json(KeyContainer(keys=keys, key_container_extension={"label": label}))


def _json(body: Body, status: int = 200) -> web.Response:
    text = body.model_dump_json(exclude_none=True)
    return web.Response(
        text=text, status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )


@web.middleware
async def _explained(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Errors in the form of clause 6.5."""
    try:
        return await handler(request)
    except Refused as refused:
        status, message, details = refused.status, refused.message, refused.details
    except KeyUnknownError:
        status, message, details = 400, NOT_FOUND, ()
    except KeyRefusedError:
        status, message, details = 401, "one or more keys are not, or no longer, for this SAE", ()
    except (PayloadError, ConfigError) as error:
        status, message, details = 400, str(error), ()
    except KeyShortageError:
        status, message, details = 503, "not enough keys are stored", ()
    except (KeyServiceError, KeyStoreError) as error:
        _log.warning("%s %s: %s", request.method, request.path, error)
        status, message, details = 503, "the keys could not be committed at both KMEs", ()
    except web.HTTPException as error:
        status = 400 if error.status == 413 else error.status
        message, details = f"{error.reason} ({error.status})", ()
    return _json(Problem(message=message, details=list(details) or None), status)
