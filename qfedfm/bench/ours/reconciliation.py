"""Cascade and LDPC codes on random strings with random errors, both parties in this process and thread."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from jaxtyping import UInt8

from qfedfm.bench.child import answer, options
from qfedfm.engine.environment import environment
from qfedfm.qkd.cascade import Cascade
from qfedfm.qkd.channel import Channel
from qfedfm.qkd.entropies import binary_entropy
from qfedfm.qkd.entropy import System
from qfedfm.qkd.ldpc import LDPC
from qfedfm.qkd.verification import tag_bits, verify

CORRECTNESS = 1e-15
"""ε_cor of the tags."""
_WARM = 2
"""Frames before the clock starts: the inner loops are compiled, and the code is grown."""


def main() -> None:
    """``{"method": "cascade", "strings": [[frame, QBER, frames], …]}``: other strings in every process."""
    given = options()
    kind = {"cascade": Cascade, "ldpc": LDPC}[given["method"]]
    lines = []
    for frame, qber, frames in given["strings"]:
        method, rng = kind(frame=frame), System().generator()
        measured(method, *strings(_WARM * frame, qber, rng), qber, frame)
        found = measured(method, *strings(frames * frame, qber, rng), qber, frame)
        lines.append({"frame": frame, "qber": qber, **found})
    answer(lines=lines, environment=environment({}))


def strings(n: int, qber: float, rng: np.random.Generator) -> tuple[UInt8[np.ndarray, " n"], UInt8[np.ndarray, " n"]]:
    """Alice's bits, and Bob's, each of them wrong with probability ``qber``."""
    alice = rng.integers(0, 2, n, np.uint8)
    return alice, alice ^ (rng.random(n) < qber).astype(np.uint8)


def measured(
    method: Cascade | LDPC, alice: UInt8[np.ndarray, " n"], bob: UInt8[np.ndarray, " n"], qber: float, frame: int
) -> dict[str, Any]:
    """Reconciliation with its verification.

    Args:
        method: which.
        alice: her bits, whole frames.
        bob: his.
        qber: true, and told to the method.
        frame: bits.

    Returns:
        ``mbits``, Mbit a second of processor time, of bits that are kept; ``efficiency``, what Alice's messages and a
        tag a frame tell, and ``both_ways``, what Bob's tell as well, over the kept bits times h(q); ``frames``, those
        ``failed`` and dropped, and ``wrong``, kept and different (with LDPC, which spreads a frame's bits over the
        string, at most 1).
    """
    channel, begin = Channel(), time.process_time()
    done = method.reconcile(alice, bob, qber, channel, System())
    equal = verify(done.alice, done.bob, CORRECTNESS, channel, System())
    seconds = time.process_time() - begin
    kept, least = len(done.alice), len(done.alice) * binary_entropy(qber)
    told = done.disclosed + done.frames * tag_bits(frame, CORRECTNESS)
    wrong = int(not equal)
    if isinstance(method, Cascade):
        wrong = int((done.alice != done.bob).reshape(-1, frame).any(axis=1).sum())
    return {
        "mbits": 1e-6 * kept / seconds,
        "efficiency": told / least,
        "both_ways": (told + done.asked) / least,
        "frames": done.frames,
        "failed": done.failed,
        "wrong": wrong,
    }


if __name__ == "__main__":
    main()
