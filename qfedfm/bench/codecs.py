"""The cases ``codecs``: the error of ``ecdq`` against that of every other codec at its bytes, and the speed of both."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from qfedfm.bench.cases import Answer, case, rounded
from qfedfm.bench.process import Side
from qfedfm.bench.runner import Runner
from qfedfm.bench.simulate import settings
from qfedfm.bench.sources import DIMENSION, GAUSSIAN, LORA, SOURCES, STUDENT
from qfedfm.core.wire import OVERHEAD

Config = Mapping[str, Any]
BUDGETS = (1.0, 2.0, 4.0)
MOST = {(GAUSSIAN, 1.0): 0.55, (GAUSSIAN, 2.0): 0.10, (GAUSSIAN, 4.0): 0.006, (STUDENT, 2.0): 0.085}
"""The largest error that is aimed for, by source and bits a coordinate."""
LEAST = 100.0
"""MB a second that encoding and decoding are to reach at least, each."""
LIMIT = "the limit of unbiased codes of Gaussian numbers"
NEVER_WORSE = ("eden", "qsgd")
"""The codecs that ours is to be no worse than anywhere."""
LEVELS = {"entropy": (1, 3, 15), "planes": (1, 3, 7)}
_NOTED = 0.01
"""Per cent over its budget from which on a note says so."""
_ONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def peers(source: str) -> list[Config]:
    """The other codecs at about 1, 2 and 4 bits a coordinate; those that need matrices for LoRA only."""
    found: list[Config] = [{"name": "eden", "bits": bits} for bits in BUDGETS]
    found += [{"name": "drive"}]
    found += [
        {"name": "qsgd", "levels": level, "coding": coding} for coding, levels in LEVELS.items() for level in levels
    ]
    found += [{"name": "dynamic-qsgd", "bits": bits} for bits in BUDGETS[1:]]
    found += [{"name": name, "coding": coding} for name in ("terngrad", "natural") for coding in LEVELS]
    found += [{"name": "random-k", "fraction": rounded(bits / 32), "values": "float32"} for bits in BUDGETS]
    found += [{"name": "top-k", "fraction": fraction(bits, 16), "values": "bfloat16"} for bits in BUDGETS]
    found += [{"name": "scaled-sign"}, *({"name": "nnadq", "weight": weight} for weight in (200.0, 20.0, 2.0))]
    if source == LORA:
        ranks = ((2, {"name": "eden", "bits": 4}), (1, "bfloat16"), (2, "bfloat16"))
        found += [{"name": "rank-pruning", "rank": rank, "values": values} for rank, values in ranks]
        found += [
            {"name": name, "bits": bits, "precision": "int8"}
            for name in ("truncated-svd", "tensor-train")
            for bits in BUDGETS
        ]
    return found


def fraction(bits: float, width: int) -> float:
    """The share p of coordinates for which their positions and values take the bits: H(p) + p · width.

    Example:
        >>> fraction(1.0, 16)
        0.04575
    """
    low, high = 0.0, 0.5
    while high - low > 1e-6:
        p = (low + high) / 2
        entropy = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
        low, high = (p, high) if entropy + p * width < bits else (low, p)
    return rounded(low)


def label(config: str | Config) -> str:
    """A codec and its options as a reader would write them.

    Example:
        >>> label({"name": "rank-pruning", "rank": 2, "values": {"name": "eden", "bits": 4}})
        'rank-pruning(rank=2, values=eden(bits=4))'
    """
    if isinstance(config, str):
        return config
    words = []
    for name, value in config.items():
        if name != "name":
            words.append(f"{name}={value:g}" if isinstance(value, (int, float)) else f"{name}={label(value)}")
    return f"{config['name']}({', '.join(words)})" if words else str(config["name"])


def bench(runner: Runner) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Errors of one run over all draws, since they do not vary; speeds of as many as the runner repeats."""
    with tempfile.TemporaryDirectory() as folder:
        experiment = settings("all", 1 if runner.quick else 3)
        recording = Side.module("recording", "ours.updates", experiment=experiment, folder=folder)
        size = int(runner.measure([recording], 1)["recording"][0]["size"])
        draws, calls = (10, 5) if runner.quick else (50, 15)
        errors = [_side(one, "ours.codecs", folder, draws=draws) for one in SOURCES]
        speeds = [_side(one, "ours.codec_speed", folder, calls=calls) for one in SOURCES]
        measured, timed = runner.measure(errors, 1), runner.measure(speeds)
    own, found = [], []
    for source, error, speed in zip(SOURCES, errors, speeds, strict=True):
        (answer,), times = measured[error.name], timed[speed.name]
        own += _own(source, answer["own"], [one["own"] for one in times])
        for number, line in enumerate(answer["cases"]):
            found.append(_line(source, size, line, [one["cases"][number] for one in times]))
    environment = dict(measured[errors[0].name][0]["environment"])
    return [*own, *found], {**environment, "threads": 1}


def _side(source: str, module: str, folder: str, **given: Any) -> Side:
    common = {"source": source, "folder": folder, "size": DIMENSION, "codecs": peers(source), "budgets": BUDGETS}
    return replace(Side.module(f"{module}, {source}", module, **common, **given), environment=_ONE)


def _own(source: str, errors: Sequence[Answer], speeds: Sequence[Sequence[Answer]]) -> list[dict[str, Any]]:
    """``ecdq`` against what is aimed for, and where no error is, against the limit for Gaussian numbers."""
    found = []
    for number, budget in enumerate(BUDGETS):
        bits, nmse = rounded(errors[number]["bits"]), errors[number]["nmse"]
        name, about = f"ecdq(bits={budget:g}), {source}", {"source": source, "bits": bits}
        most = MOST.get((source, budget))
        peer = ([1 / (4.0**bits - 1)], LIMIT, None) if most is None else ([most], "the most that it may be", 1.0)
        extra: dict[str, Any] = {"what": "error", **about, **_limits(source, bits)}
        found.append(case(f"{name}: error", "NMSE", [nmse], *peer, **extra))
        for what in ("encode", "decode"):
            rates = [one[number][what] for one in speeds]
            least, peer_name = [LEAST] * len(rates), "the least that is aimed for"
            found.append(case(f"{name}: {what}", "MB/s", rates, least, peer_name, 1.0, what=what, **about))
    return found


def _line(source: str, recorded: int, error: Answer, speeds: Sequence[Answer]) -> dict[str, Any]:
    """One codec against ``ecdq`` at its bytes; ``recorded`` is the size of the updates that were recorded."""
    bits = {"ours": error["ours_bits"], "peer": error["bits"]}
    both = {
        what: {side: rounded(median(one[side][what] for one in speeds)) for side in bits}
        for what in ("encode", "decode")
    }
    codec, over = label(error["config"]), 100 * error["overran"]
    note = f"against {codec} ecdq overran its budget by {over:.2g} % in the mean over draws, and was given less"
    return case(
        f"{source}, {bits['peer']:.2f} bits",
        "NMSE",
        [error["ours_nmse"]],
        [error["nmse"]],
        f"{codec}, {'unbiased' if error['unbiased'] else 'biased'}",
        1.0 if error["config"]["name"] in NEVER_WORSE else None,
        source=source,
        codec=codec,
        unbiased=error["unbiased"],
        rate={side: rounded(value) for side, value in bits.items()},
        framed=rounded(bits["peer"] + 8 * OVERHEAD / (recorded if source == LORA else DIMENSION)),
        **_limits(source, bits["peer"]),
        **both,
        **({"note": note} if over >= _NOTED else {}),
    )


def _limits(source: str, bits: float) -> dict[str, float]:
    """The least error that any code of Gaussian numbers has at a rate R: 4⁻ᴿ, and 1/(4ᴿ − 1) where it is unbiased."""
    if source != GAUSSIAN:
        return {}
    return {"limit": rounded(4.0**-bits), "unbiased_limit": rounded(1 / (4.0**bits - 1))}
