"""The cases ``qkd``: from photons to keys, and what keys protect, against what is aimed for and the ciphers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from qfedfm.bench.cases import Answer, case, rounded
from qfedfm.bench.process import BenchError, Side, require
from qfedfm.bench.runner import Runner

Case = dict[str, Any]
Answers = Mapping[str, Sequence[Answer]]
LEAST, MOST, CIPHER = "the least that is aimed for", "the most that it may be", "the cipher alone"
QBERS = (0.02, 0.035, 0.05)
CASCADE, LDPC = "Cascade", "LDPC"
METHODS: Mapping[str, Mapping[int, tuple[int, float]]] = {
    CASCADE: {10_000: (1000, 1.10), 100_000: (120, 1.06)},
    LDPC: {65_536: (16, 1.15)},
}
"""By method and bits of a frame: how many frames, and the largest efficiency that is aimed for."""
_QUICK = 8
"""A quick run has that many times fewer frames, and LDPC one QBER."""
SPEED = {CASCADE: 5.0, LDPC: 0.5}
"""Mbit a second."""
WRONG = 1.0
"""Per cent of Cascade's frames that may stay wrong."""
BLOCK, LENGTHS, AMPLIFIED = 2**20, (2**18, 2**19), 10.0
"""Bits of a block and of keys; Mbit of input a second."""
PULSES, SIMULATED = 10**7, 2.0
"""Pulses, and the seconds that they may take."""
SEALED = 1 / 1.5
MASKED = 1 / 2
"""The least ratios to the cipher's time."""
SIZES = {64_000: "64 kB", 1_200_000: "1.2 MB"}
MASKS = {"clients": 50, "size": 300_000, "dropouts": 0.3}
_ONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def bench(runner: Runner) -> tuple[list[Case], dict[str, Any]]:
    """Every program in turns, one thread each; what a ratio compares runs in one process, call by call."""
    require("aiohttp", "cryptography", "numba")
    answers = runner.measure([replace(side, environment=_ONE) for side in _sides(runner.quick)])
    found = [line for method in METHODS for line in _reconciled(method, answers[method])]
    for part in (_photons, _sealed, _masked, _served):
        found += part(answers)
    return found, {**dict(answers[CASCADE][0]["environment"]), "threads": 1}


def _sides(quick: bool) -> list[Side]:
    found = []
    for method, frames in METHODS.items():
        qbers = QBERS[1:2] if quick and method == LDPC else QBERS
        strings = [
            (frame, qber, count // _QUICK if quick else count) for frame, (count, _) in frames.items() for qber in qbers
        ]
        found.append(Side.module(method, "ours.reconciliation", method=method.lower(), strings=strings))
    calls, requests = (100, 20) if quick else (1000, 200)
    return [
        *found,
        Side.module("photons", "ours.photons", block=BLOCK, lengths=LENGTHS, pulses=PULSES),
        Side.module("seals", "ours.seals", bodies=list(SIZES), calls=calls),
        Side.module("masks", "ours.masks", **MASKS, repetitions=1),
        Side.module("key service", "ours.key_service", requests=requests),
    ]


def _reconciled(method: str, answers: Sequence[Answer]) -> Iterator[Case]:
    """Speed, efficiency and, where there are frames enough to tell, errors of Cascade's frames."""
    for lines in zip(*(answer["lines"] for answer in answers), strict=True):
        frame, qber = lines[0]["frame"], lines[0]["qber"]
        most = METHODS[method][frame][1]
        name = f"{method}, {frame:,} bits, QBER {100 * qber:g} %"
        counts = {what: sum(line[what] for line in lines) for what in ("frames", "failed", "wrong")}
        both = rounded(sum(line["both_ways"] for line in lines) / len(lines))
        speeds, told = [line["mbits"] for line in lines], [line["efficiency"] for line in lines]
        yield _against(f"{name}: speed", "Mbit/s", speeds, SPEED[method], **counts)
        yield _against(f"{name}: told / n h(q)", "f", told, most, both_ways=both)
        bound = 100 * upper_bound(counts["wrong"], counts["frames"])
        if method == CASCADE and 100 * upper_bound(0, counts["frames"]) <= WRONG:
            yield _against(f"{name}: frames wrong, 95 % bound", "% of frames", [bound], WRONG, **counts)


def upper_bound(wrong: int, frames: int) -> float:
    """The share of wrong frames that 95 % of such samples would exceed (Clopper and Pearson, Biometrika 26, 404, 1934).

    Example:
        >>> rounded(upper_bound(0, 300))
        0.009936
    """
    from scipy.stats import beta

    return 1.0 if wrong >= frames else float(beta.ppf(0.95, wrong + 1, frames - wrong))


def _photons(answers: Answers) -> list[Case]:
    found = [
        _against(
            f"privacy amplification, 2²⁰ bits to {length:,}",
            "Mbit/s",
            [answer["amplified"][str(length)] for answer in answers["photons"]],
            AMPLIFIED,
        )
        for length in LENGTHS
    ]
    for name in answers["photons"][0]["simulated"]:
        seconds = [answer["simulated"][name] for answer in answers["photons"]]
        found.append(_against(f"10⁷ pulses: {name}", "seconds", seconds, SIMULATED))
    return found


def _sealed(answers: Answers) -> list[Case]:
    found = []
    for size, words in SIZES.items():
        lines = [answer["lines"][str(size)] for answer in answers["seals"]]
        for ours, cipher in (("seal", "encrypt"), ("open", "decrypt")):
            alone, whole = ([line[what] for line in lines] for what in (cipher, ours))
            found.append(case(f"AES-GCM, {words}: {ours}", "seconds", whole, alone, CIPHER, SEALED))
    return found


def _masked(answers: Answers) -> list[Case]:
    """Secure aggregation.

    Raises:
        BenchError: a sum was not exact.
    """
    lines = [line for answer in answers["masks"] for line in answer["lines"]]
    if not all(line["exact"] for line in lines):
        raise BenchError("a sum of masked numbers", "the plain one, to the last bit")
    name = f"masks, {MASKS['clients']} clients × {MASKS['size']:,}"
    cipher, masking, recovery = (
        [line[f"{what}_seconds"] for line in lines] for what in ("cipher", "masking", "recovery")
    )
    uplink = {"uplink_megabytes": rounded(1e-6 * sum(lines[0]["uplink_bytes"].values()))}
    lost = f"{name}: recovery of {100 * MASKS['dropouts']:.0f} % dropouts"
    return [
        case(name, "seconds", masking, cipher, CIPHER, MASKED, **uplink),
        case(lost, "seconds", recovery, cipher, f"{CIPHER}, for all masks"),
    ]


def _served(answers: Answers) -> list[Case]:
    ours, bare = ([1 / answer[what] for answer in answers["key service"]] for what in ("service", "server"))
    return [case("key service, one new key", "requests/s", ours, bare, "a TLS server with one answer")]


def _against(name: str, unit: str, ours: Sequence[float], aim: float, **extra: Any) -> Case:
    peer = LEAST if unit == "Mbit/s" else MOST
    return case(name, unit, ours, [aim] * len(ours), peer, 1.0, **extra)
