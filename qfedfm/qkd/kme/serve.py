"""Running key managers: sockets, links and housekeeping, from start to a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence

import aiohttp
from aiohttp import web

from qfedfm.core.errors import ConfigError, KeyStoreError
from qfedfm.qkd.keystore import KeyStore
from qfedfm.qkd.kme.link import SIMULATED, Feeder, Link
from qfedfm.qkd.kme.manager import KeyManager
from qfedfm.qkd.kme.quantum import Sessions
from qfedfm.qkd.kme.service import Service
from qfedfm.qkd.kme.settings import Peer, Settings
from qfedfm.qkd.vault import MasterKey

_SWEEP, _SHUTDOWN, _FAREWELL = 5.0, 5.0, 0.1
"""Seconds between sweeps of the store, for requests that are under way at the end, and for connections to close."""


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, feeder: Feeder | None = None, listening: socket.socket | None = None
) -> AsyncIterator[KeyManager]:
    """A key manager that serves until the context ends.

    Args:
        settings: who it is and where.
        feeder: where the bits of all its links are from; as its settings say where none is given.
        listening: a socket in the place of the address in the settings.

    Raises:
        ConfigError: a certificate or master key is missing or wrong, or the address cannot be listened on.
        KeyStoreError: the store cannot be used.
    """
    incoming, outgoing = settings.credentials.server(), settings.credentials.client()
    store = KeyStore(
        settings.store, MasterKey.load(settings.master_key), capacity=settings.capacity, lifetime=settings.lifetime
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(store.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        links = {
            peer.id: Link(store, peer, session, outgoing, feeder or _feeder(settings, peer)) for peer in settings.peers
        }
        manager = KeyManager(settings, store, links)
        work = [asyncio.create_task(link.run(settings.rate)) for link in links.values()]
        work.append(asyncio.create_task(_housekeeping(store)))
        stack.push_async_callback(_ended, work)
        runner = web.AppRunner(
            Service(manager).app(), access_log=None, shutdown_timeout=_SHUTDOWN, auto_decompress=False
        )
        await runner.setup()
        stack.push_async_callback(_hung_up, runner)
        sock = _bound(settings) if listening is None else listening
        await web.SockSite(runner, sock, ssl_context=incoming).start()
        yield manager


async def serve(managers: Sequence[Settings], say: Callable[[str], None]) -> None:
    """Serves until the process is asked to end (SIGINT or SIGTERM).

    Args:
        managers: settings of one or several key managers.
        say: gets a line for each when it is up.

    Raises:
        ConfigError, KeyStoreError: see `serving`.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows ends a process by itself
            loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        for settings in managers:
            sock = _bound(settings)
            manager = await stack.enter_async_context(serving(settings, listening=sock))
            host, port = sock.getsockname()[:2]
            say(f"{settings.id}: https://{host}:{port}, keys: {manager.label}")
        await stop.wait()


def _feeder(settings: Settings, peer: Peer) -> Feeder:
    """Sessions where the settings of the link ask for them."""
    if peer.quantum is None:
        return Feeder.simulated()
    return Feeder(Sessions(peer.quantum, f"{settings.id} and {peer.id}").take, SIMULATED, slow=True)


def _bound(settings: Settings) -> socket.socket:
    host, port = settings.address
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        given = f"{settings.id} cannot listen on {settings.listen} ({error.strerror})"
        raise ConfigError(
            given, "an address of this machine and a free port", "change listen in its settings"
        ) from None


async def _housekeeping(store: KeyStore) -> None:
    while True:
        with contextlib.suppress(KeyStoreError):  # a full disk: whoever asks for keys hears of it
            await asyncio.to_thread(store.sweep)
        await asyncio.sleep(_SWEEP)


async def _hung_up(runner: web.AppRunner) -> None:
    """Ends with all connections closed, also those whose other side does not say goodbye, or was still greeting."""
    server = runner.server
    connections = [] if server is None else [each.transport for each in server.connections]
    await runner.cleanup()
    await asyncio.sleep(_FAREWELL)
    connections += [] if server is None else [each.transport for each in server.connections]
    for transport in connections:
        if transport is not None:
            transport.abort()
    await asyncio.sleep(_FAREWELL)


async def _ended(work: Sequence[asyncio.Task[None]]) -> None:
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
