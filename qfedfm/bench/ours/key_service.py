"""Requests for keys at a key manager over mutual TLS, in turns with a server that answers the same without a store."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from statistics import median

from qfedfm.bench.child import answer, options
from qfedfm.qkd.kme.certificates import trial
from qfedfm.qkd.kme.client import KmeClient
from qfedfm.qkd.kme.serve import serving
from qfedfm.qkd.kme.settings import Settings
from qfedfm.qkd.kme.tls import Credentials

_MANAGERS = {"kme-a": ["sae-a"], "kme-b": ["sae-b"]}
_KEY = '{"keys": [{"key_ID": "00112233-4455-6677-8899-aabbccddeeff", "key": "%s="}]}' % ("A" * 43)
_ANSWER = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(_KEY)}\r\n\r\n{_KEY}".encode()


def main() -> None:
    """``{"requests": 100}``: seconds of a request for one new key, whole connections and certificates included."""
    requests = options()["requests"]
    with tempfile.TemporaryDirectory() as folder:
        answer(**asyncio.run(seconds(Path(folder), requests)))


async def seconds(folder: Path, requests: int) -> dict[str, float]:
    """Medians over requests in turns; the client is in a thread of the same process as both servers.

    Args:
        folder: an empty one, for certificates and stores.
        requests: to each server; as many keys of 256 bits must fit the store.
    """
    trial(folder, _MANAGERS)
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in _MANAGERS}
    async with contextlib.AsyncExitStack() as stack:
        for name, sock in sockets.items():
            await stack.enter_async_context(serving(_settings(folder, name, sockets, requests), listening=sock))
        constant = await stack.enter_async_context(_constant(folder))
        ports = (sockets["kme-a"].getsockname()[1], constant)
        own = Credentials(folder / "sae-a.crt", folder / "sae-a.key", folder / "ca.crt")
        clients = [KmeClient(f"https://127.0.0.1:{port}", own) for port in ports]
        while (await asyncio.to_thread(clients[0].status, "sae-b")).stored_key_count < requests:
            await asyncio.sleep(0.05)
        service, server = await asyncio.to_thread(_asked, clients, requests)
    return {"service": median(service), "server": median(server)}


def _settings(folder: Path, name: str, sockets: dict[str, socket.socket], requests: int) -> Settings:
    """Those of the trial with room for all keys, on the ports that are free, and links fast enough."""
    found = Settings.load(folder / f"{name}.toml")
    peers = tuple(
        peer.model_copy(update={"url": f"https://127.0.0.1:{sockets[peer.id].getsockname()[1]}"})
        for peer in found.peers
    )
    return found.model_copy(update={"peers": peers, "rate": 1e7, "capacity": 2 * requests})


@contextlib.asynccontextmanager
async def _constant(folder: Path) -> AsyncIterator[int]:
    """The port of a server with a key manager's certificate that says one thing to everybody."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        await writer.drain()
        writer.close()

    context = Credentials(folder / "kme-a.crt", folder / "kme-a.key", folder / "ca.crt").server()
    async with await asyncio.start_server(reply, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def _asked(clients: Sequence[KmeClient], requests: int) -> list[list[float]]:
    """Seconds of every request for a key, by client, A B A B …"""
    found: list[list[float]] = [[] for _ in clients]
    for _ in range(requests):
        for number, client in enumerate(clients):
            begin = time.perf_counter()
            client.enc_keys("sae-b")
            found[number].append(time.perf_counter() - begin)
    return found


if __name__ == "__main__":
    main()
