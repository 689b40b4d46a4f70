"""The error and the length of codecs, and the error of ``ecdq`` with no more bytes than each of them took."""

from __future__ import annotations

from typing import Any

import numpy as np

from qfedfm.bench.child import answer, options, startup_seconds
from qfedfm.bench.process import BenchError
from qfedfm.bench.sources import Source
from qfedfm.core.distortion import Unbiased
from qfedfm.core.parts import Codec
from qfedfm.core.registry import build
from qfedfm.engine.environment import environment
from qfedfm.layers.ecdq import Ecdq

MOST = 12.0
"""Bits of a coordinate: what ``ecdq`` takes at most, also where another codec has more."""
_LEAST = 0.01
"""And at least."""


def main() -> None:
    """Every codec, and ``ecdq`` at every budget, on every draw of a source."""
    given = options()
    source = Source.of(given["source"], given["folder"], given["size"])
    own = [measured(Ecdq(bits=bits), None, source, given["draws"]) for bits in given["budgets"]]
    startup, cases = startup_seconds(given), []
    for config in given["codecs"]:
        cases.append(measured(build("codec", config), config, source, given["draws"]))
    answer(startup_seconds=startup, own=own, cases=cases, environment=environment({}))


def measured(codec: Codec, config: Any, source: Source, draws: int) -> dict[str, Any]:
    """Means over the draws: ‖x̂ − x‖²/‖x‖² and bits a coordinate of a codec, and where it is a peer those of ``ecdq``.

    ``ecdq`` is given the length of the peer's body of the same draw as its budget.
    """
    found = []
    for draw in range(draws):
        bits, error = once(codec, source, draw)
        found.append((bits, error, *(within(bits, source, draw) if config is not None else ())))
    means = np.mean(found, axis=0)
    names = ("bits", "nmse", "ours_bits", "ours_nmse", "overran")[: len(means)]
    unbiased = isinstance(codec.distortion(source.layout), Unbiased)
    return {"config": config, "unbiased": unbiased, **dict(zip(names, map(float, means), strict=True))}


def within(allowed: float, source: Source, draw: int) -> tuple[float, float, float]:
    """What `once` says of ``ecdq`` at no more than the allowed bits, and by which share its first body was longer.

    Its bound on the error, and what its search may miss, let it take more than its budget; it is then given less.

    Raises:
        BenchError: it needs more whatever the budget.
    """
    budget, overran = min(allowed, MOST), 0.0
    while budget >= _LEAST:
        bits, error = once(Ecdq(bits=budget), source, draw)
        if bits <= allowed:
            return bits, error, overran
        overran = overran or bits / allowed - 1
        budget *= min(allowed / bits, 0.99)
    raise BenchError(f"ecdq takes more than {allowed:.3g} bits of {source.name} at any budget", "fewer bits")


def once(codec: Codec, source: Source, draw: int) -> tuple[float, float]:
    """Bits a coordinate and ‖x̂ − x‖²/‖x‖² of one draw."""
    x, at = source.vector(draw), source.at(draw)
    body = codec.encode(x, at)
    apart = codec.decode(body, at).astype(np.float64) - x
    return 8 * len(body) / x.size, float(np.square(apart).sum() / np.square(x, dtype=np.float64).sum())


if __name__ == "__main__":
    main()
