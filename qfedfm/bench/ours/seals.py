"""AES-GCM as updates are sealed with it, in turns with the cipher alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qfedfm.bench.child import answer, options
from qfedfm.core.errors import PayloadError
from qfedfm.core.keyring import Keyring
from qfedfm.core.keys import SharedMemory
from qfedfm.core.seals import open_body, seal_body
from qfedfm.core.wire import Frame
from qfedfm.layers.aes_gcm import AesGcm

_HEADER = Frame(0, 1, 2, bytes(8), bytes(8))
_TAG = 16


def main() -> None:
    """``{"bodies": [64000, 1200000], "calls": 200}``."""
    given = options()
    answer(lines={size: seconds(size, given["calls"]) for size in given["bodies"]})


def seconds(size: int, calls: int) -> dict[str, float]:
    """Median seconds of a call; each side's calls alternate with the other's.

    The cipher alone has its key set up and writes into a place that is kept from call to call. Ours looks its keys up,
    counts, binds the body to its header, sets up the cipher and allocates what it gives.

    Args:
        size: bytes of a body.
        calls: that are timed; a tenth as many before do not count.

    Raises:
        PayloadError: what was opened is not what was sealed.
    """
    memory, seals = SharedMemory(), [AesGcm()]
    client, server = (Keyring(memory.end(one), other, b"run") for one, other in ("cs", "sc"))
    cipher, associated = AESGCM(os.urandom(32)), client.associated(_HEADER)
    body, hidden, shown = os.urandom(size), bytearray(size + _TAG), bytearray(size)
    found: dict[str, list[float]] = {name: [] for name in ("seal", "encrypt", "open", "decrypt")}
    for number in range(-(calls // 10) - 1, calls):
        nonce = (number % 2**64).to_bytes(12, "big")
        took, sealed = _timed(seal_body, seals, body, _HEADER, client)
        laps = {"seal": took, "encrypt": _timed(cipher.encrypt_into, nonce, body, associated, hidden)[0]}
        laps["open"], opened = _timed(open_body, seals, sealed, _HEADER, server)
        laps["decrypt"], _ = _timed(cipher.decrypt_into, nonce, hidden, associated, shown)
        if opened != body or shown != body:
            raise PayloadError("a body that was opened", "the one that was sealed")
        if number >= 0:
            for name, lap in laps.items():
                found[name].append(lap)
    return {name: median(laps) for name, laps in found.items()}


def _timed(work: Callable[..., Any], *given: Any) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = work(*given)
    return time.perf_counter() - begin, result


if __name__ == "__main__":
    main()
