"""The cases ``aggregate``: every reduce that ByzFL has too, and the mean against the speed of memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from qfedfm.bench.cases import Answers, case, rounded
from qfedfm.bench.process import Side, require
from qfedfm.bench.runner import Runner

OURS, BYZFL, BANDWIDTH = "ours", "ByzFL, NumPy", "memory bandwidth: a plain sum of the same bytes"
NAMES = ("mean", "median", "trimmed-mean", "krum", "multi-krum", "geometric-median")
DIMENSION = 300_000
TARGETS = {
    ("krum", 50): 10.0,
    ("krum", 200): 20.0,
    ("nnm", 50): 100.0,
    ("median", 200): 3.5,
    ("trimmed-mean", 200): 1.2,
}
"""The least ratio to ByzFL that is aimed for, of those that have one."""
NOTES = {
    "geometric-median": "ours goes on until the gradient's norm is below 1e-6; ByzFL's default is three steps",
    "nnm": "at n = 200 ByzFL would need 38 GB",
}


def bench(runner: Runner) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All reduces at 50 and 200 updates of 300,000 numbers."""
    require("byzfl")
    wanted = [(name, n) for n in (50, 200) for name in NAMES]
    wanted.insert(len(NAMES), ("nnm", 50))
    given: dict[str, Any] = {"cases": wanted, "d": DIMENSION}
    sides = [
        Side.module(OURS, "ours.aggregate", **given),
        Side.module(BYZFL, "peers.byzfl", **given),
        Side.module(BANDWIDTH, "peers.bandwidth", rows=[50, 200], d=DIMENSION),
    ]
    answers = runner.measure(sides)
    found = [_against_byzfl(answers, number) for number in range(len(wanted))]
    found += [_against_memory(answers, n) for n in (50, 200)]
    return found, dict(answers[OURS][0]["environment"])


def _against_byzfl(answers: Answers, number: int) -> dict[str, Any]:
    ours, peer = ([answer["cases"][number] for answer in answers[side]] for side in (OURS, BYZFL))
    name, n = ours[0]["name"], ours[0]["n"]
    extra = {"note": NOTES[name]} if name in NOTES else {}
    return case(
        f"{name}, n = {n}",
        "seconds",
        [one["seconds"] for one in ours],
        [one["seconds"] for one in peer],
        BYZFL,
        TARGETS.get((name, n)),
        relative_difference=_difference(ours[0]["digest"], peer[0]["digest"]),
        **extra,
    )


def _difference(ours: list[float], peer: list[float]) -> float:
    """How far the two results are apart, relative to the larger norm; of the digests, not of the whole vectors."""
    scale = max(np.abs(ours[1:]).max(), np.abs(peer[1:]).max())
    return float(f"{np.abs(np.subtract(ours[1:], peer[1:])).max() / scale:.2g}")


def _against_memory(answers: Answers, n: int) -> dict[str, Any]:
    gigabytes = 4e-9 * n * DIMENSION
    ours = [one["seconds"] for answer in answers[OURS] for one in answer["uncached_means"] if one["n"] == n]
    read = [one for answer in answers[BANDWIDTH] for one in answer["cases"] if one["n"] == n]
    return case(
        f"mean against memory, n = {n}",
        "GB/s",
        [gigabytes / seconds for seconds in ours],
        [gigabytes / one["seconds"] for one in read],
        BANDWIDTH,
        0.9,
        way=read[0]["way"],
        ways={way: rounded(gigabytes / seconds) for way, seconds in read[0]["ways"].items()},
    )
