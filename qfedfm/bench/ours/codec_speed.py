"""How fast codecs encode and decode, in turns with ``ecdq`` at the same bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from qfedfm.bench.child import answer, options, startup_seconds
from qfedfm.bench.ours.codecs import MOST
from qfedfm.bench.sources import Source
from qfedfm.core.parts import Codec
from qfedfm.core.registry import build
from qfedfm.layers.ecdq import Ecdq


def main() -> None:
    """Every codec against ``ecdq``, and ``ecdq`` alone at every budget."""
    given = options()
    source = Source.of(given["source"], given["folder"], given["size"])
    startup, calls = startup_seconds(given), given["calls"]
    own = [speeds([Ecdq(bits=bits)], source, calls)[0] for bits in given["budgets"]]
    answer(startup_seconds=startup, own=own, cases=[_against(one, source, calls) for one in given["codecs"]])


def _against(config: str | Mapping[str, Any], source: Source, calls: int) -> dict[str, Any]:
    peer = build("codec", config)
    bits = 8 * len(peer.encode(source.vector(0), source.at(0))) / source.layout.size
    ours, theirs = speeds([Ecdq(bits=min(bits, MOST)), peer], source, calls)
    return {"config": config, "ours": ours, "peer": theirs}


def speeds(codecs: Sequence[Codec], source: Source, calls: int) -> list[dict[str, float]]:
    """MB of float32 a second of processor time, encoding and decoding: the median over calls in turns, A B A B …

    Args:
        codecs: which; each is called once before for warming up.
        source: of the vectors, a new one for each turn.
        calls: turns that are timed.
    """
    seconds = np.empty((calls + 1, len(codecs), 2))
    for turn in range(calls + 1):
        x, at = source.vector(turn), source.at(turn)
        for number, codec in enumerate(codecs):
            seconds[turn, number, 0], body = _timed(codec.encode, x, at)
            seconds[turn, number, 1], _ = _timed(codec.decode, body, at)
    rates = 4e-6 * source.layout.size / np.median(seconds[1:], axis=0)
    return [{"encode": float(encode), "decode": float(decode)} for encode, decode in rates]


def _timed(work: Callable[..., Any], *given: Any) -> tuple[float, Any]:
    begin = time.process_time()
    result = work(*given)
    return time.process_time() - begin, result


if __name__ == "__main__":
    main()
