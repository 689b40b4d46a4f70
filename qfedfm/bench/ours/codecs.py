"""The error and the length of codecs, and the error of ``ecdq`` with no more bytes than each of them took."""

from __future__ import annotations

from typing import Any

import numpy as np

from qfedfm.bench.child import answer, options, startup_seconds
from qfedfm.bench.sources import Source
from qfedfm.core.distortion import Unbiased
from qfedfm.core.parts import Codec
from qfedfm.core.registry import build
from qfedfm.engine.environment import environment
from qfedfm.layers.ecdq import Ecdq

MOST = 12.0
"""Bits of a coordinate: what ``ecdq`` takes at most, also where another codec has more."""


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
        budgeted = once(Ecdq(bits=min(bits, MOST)), source, draw) if config is not None else ()
        found.append((bits, error, *budgeted))
    means = np.mean(found, axis=0)
    names = ("bits", "nmse", "ours_bits", "ours_nmse")[: len(means)]
    unbiased = isinstance(codec.distortion(source.layout), Unbiased)
    return {"config": config, "unbiased": unbiased, **dict(zip(names, map(float, means), strict=True))}


def once(codec: Codec, source: Source, draw: int) -> tuple[float, float]:
    """Bits a coordinate and ‖x̂ − x‖²/‖x‖² of one draw."""
    x, at = source.vector(draw), source.at(draw)
    body = codec.encode(x, at)
    apart = codec.decode(body, at).astype(np.float64) - x
    return 8 * len(body) / x.size, float(np.square(apart).sum() / np.square(x, dtype=np.float64).sum())


if __name__ == "__main__":
    main()
