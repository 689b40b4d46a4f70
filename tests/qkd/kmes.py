"""Two key managers on real sockets of this machine, in a thread or each in a process."""

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import sys
import threading
import time

from qfedfm.qkd.kme.certificates import trial
from qfedfm.qkd.kme.client import KmeClient
from qfedfm.qkd.kme.serve import serving
from qfedfm.qkd.kme.settings import Settings
from qfedfm.qkd.kme.tls import Credentials

SAES = {"kme-a": ["sae-a", "sae-a2"], "kme-b": ["sae-b", "sae-b2"]}


class Kmes:
    """Key managers over which a test has control.

    Args:
        folder: for certificates and stores.
        feeders: of links, by key manager; simulated and fast where none is given.
        changes: settings of both.
    """

    def __init__(self, folder, feeders=None, **changes):
        self.folder, self.feeders = folder, feeders or {}
        trial(folder, SAES)
        self.sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in SAES}
        self.ports = {name: sock.getsockname()[1] for name, sock in self.sockets.items()}
        changes = {"rate": 1e7, "capacity": 512, **changes}
        self.settings = {name: self._settings(name, changes) for name in SAES}
        self.managers, self._threads, self._stops = {}, {}, {}

    def _settings(self, name, changes):
        found = Settings.load(self.folder / f"{name}.toml")
        peers = tuple(
            peer.model_copy(update={"url": f"https://127.0.0.1:{self.ports[peer.id]}"}) for peer in found.peers
        )
        return found.model_copy(update={"peers": peers, **changes})

    def start(self, name):
        """Serves in a thread of its own."""
        up, failed = threading.Event(), []

        async def main():
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            sock = self.sockets[name].dup()
            async with serving(self.settings[name], self.feeders.get(name), sock) as manager:
                self.managers[name] = manager
                self._stops[name] = lambda: loop.call_soon_threadsafe(stop.set)
                up.set()
                await stop.wait()

        def run():
            try:
                asyncio.run(main())
            except BaseException as error:
                failed.append(error)
                up.set()
                raise

        self._threads[name] = threading.Thread(target=run)
        self._threads[name].start()
        up.wait(30)
        if failed:
            raise failed[0]

    def stop(self, name):
        self._stops.pop(name)()
        self._threads.pop(name).join(30)

    def close(self):
        for name in list(self._stops):
            self.stop(name)
        for sock in self.sockets.values():
            sock.close()

    def credentials(self, name, folder=None):
        folder = folder or self.folder
        return Credentials(folder / f"{name}.crt", folder / f"{name}.key", folder / "ca.crt")

    def place(self, kme):
        return f"127.0.0.1:{self.ports[kme]}"

    def client(self, sae):
        home = next(kme for kme, saes in SAES.items() if sae in saes)
        return KmeClient(f"https://{self.place(home)}", self.credentials(sae))

    def filled(self, count=128, seconds=30):
        """Waits until both links have so many keys."""
        until = time.monotonic() + seconds
        for sae, other in (("sae-a", "sae-b"), ("sae-b", "sae-a")):
            while self.client(sae).status(other).stored_key_count < count:
                assert time.monotonic() < until, "the link does not fill the stores"
                time.sleep(0.02)

    def ask(self, who, kme, method, path, body=None, headers=None, context=None):
        """One request, as raw as it gets; the status and what came."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.ports[kme], timeout=20, context=context or self.credentials(who).client()
        )
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        try:
            connection.request(method, path, body, headers or {})
            with connection.getresponse() as answer:
                return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@contextlib.contextmanager
def running(folder, feeders=None, **changes):
    kmes = Kmes(folder, feeders, **changes)
    try:
        for name in SAES:
            kmes.start(name)
        yield kmes
    finally:
        kmes.close()


def nobody(ca):
    """A context without a certificate."""
    return ssl.create_default_context(cafile=str(ca))


if __name__ == "__main__":  # serves one key manager on a socket that was handed down, until it is killed

    async def main(path, number):
        given = Settings.model_validate_json(path)
        async with serving(given, listening=socket.socket(fileno=number)):
            print("up", flush=True)
            await asyncio.Event().wait()

    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
