"""The cases ``simulate``: one method on one seed against a bare loop and Flower."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from qfedfm.bench.cases import Answer, both, case, middle
from qfedfm.bench.process import Side, require
from qfedfm.bench.runner import Runner

OURS, BARE, BARE16 = "ours", "bare loop, float32", "bare loop, bfloat16 and eager attention"
FLOWER, FLOWER16 = "Flower simulation, float32", "Flower simulation, bfloat16 and eager attention"
CLIENTS = 10
TARGETS: Mapping[tuple[str, str], float] = {
    ("all layers: training", BARE): 4.0,
    ("all layers: training", BARE16): 2.0,
    ("all layers: training", FLOWER): 4.0,
    ("all layers: peak memory", FLOWER): 3.0,
    ("last 2 layers: training", BARE): 6.0,
    ("evaluation", BARE): 3.0,
}
"""The least ratio that is aimed for, of those cases that have one."""


def settings(layers: str | int, rounds: int, seeds: Sequence[int] = (1,)) -> dict[str, Any]:
    """Ten sources of tweets × 4 steps × 8 rows, LoRA of rank 8 on query and value; 40 rows evaluated after a round."""
    options = {"r": 8, "lora_alpha": 16, "target_modules": ["query", "value"]}
    return {
        "name": "simulate",
        "seeds": list(seeds),
        "rounds": rounds,
        "task": {
            "test_rows": 4,
            "validation": 0,
            "tuning": 0,
            "adapter": {"kind": "lora", "layers": layers, "options": options},
        },
        "training": {"steps": 4, "batch_size": 8, "rate": 1e-3},
        "method": {"reduce": "mean"},
    }


def peers(experiment: Mapping[str, Any], actors: int, *, quick: bool) -> list[Side]:
    """The programs that ours is compared with."""
    cores = os.cpu_count() or 1
    flower = {"experiment": experiment, "clients": CLIENTS, "actors": actors, "threads": max(cores // actors, 1)}
    sides = [
        Side.module(BARE, "peers.bare", experiment=experiment, precision="float32"),
        Side.module(BARE16, "peers.bare", experiment=experiment, precision="bfloat16"),
        Side.module(FLOWER, "peers.flower", precision="float32", **flower),
    ]
    return sides if quick else [*sides, Side.module(FLOWER16, "peers.flower", precision="bfloat16", **flower)]


def actors(runner: Runner) -> int:
    """How many Ray actors Flower is fastest with: one for each core, or one that has them all."""
    cores = os.cpu_count() or 1
    if runner.quick or cores == 1:
        return cores
    rates = {}
    for count in (1, cores):
        (side,) = [side for side in peers(settings("all", 2), count, quick=True) if side.name == FLOWER]
        rates[count] = rate(runner.measure([side], 1)[FLOWER][0])
    return max(rates, key=lambda count: rates[count])


def rate(answer: Answer) -> float:
    """Client-steps a second, over all rounds."""
    return float(answer["client_steps"] / sum(answer["round_seconds"]))


def bench(runner: Runner) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All layers, the last two, and evaluation; and the environment."""
    require("flwr", "ray")
    count = actors(runner)
    rounds = 1 if runner.quick else 20
    found = [*_training(runner, "all", rounds, count), *_training(runner, 2, rounds, count)]
    evaluation, environment = _evaluation(runner)
    return [*found, *evaluation], environment


def _training(runner: Runner, layers: str | int, rounds: int, count: int) -> list[dict[str, Any]]:
    where = "all layers" if layers == "all" else f"last {layers} layers"
    experiment = settings(layers, rounds)
    others = peers(experiment, count, quick=runner.quick)
    if layers != "all" and runner.quick:
        others = others[:1]
    answers = runner.measure([Side.module(OURS, "ours.simulate", experiment=experiment), *others])
    ours = answers[OURS]
    found = []
    for side in others:
        peer = answers[side.name]
        extra: dict[str, Any] = {
            **both(ours, peer, "startup_seconds", "peak_megabytes", "wall_seconds", "accuracy"),
            "rounds": rounds,
            "peer_threads": middle(peer, "threads"),
            **({"peer_actors": count} if "Flower" in side.name else {}),
        }
        rates = [rate(answer) for answer in ours], [rate(answer) for answer in peer]
        found.append(_line(f"{where}: training", "client-steps/s", *rates, side.name, **extra))
        found.append(_line(f"{where}: peak memory", "MB", _memory(ours), _memory(peer), side.name, rounds=rounds))
    return sorted(found, key=lambda line: line["unit"] == "MB")


def _line(name: str, unit: str, ours: Sequence[float], peer: Sequence[float], who: str, **extra: Any) -> dict[str, Any]:
    return case(name, unit, ours, peer, who, TARGETS.get((name, who)), **extra)


def _memory(answers: Sequence[Answer]) -> list[float]:
    return [float(answer["peak_megabytes"]) for answer in answers]


def _evaluation(runner: Runner) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    experiment = {**settings("all", 1), "name": "evaluate"}
    given = {"experiment": experiment, "evaluate": 160 if runner.quick else 1280}
    others = [
        Side.module(name, "peers.bare", precision=precision, **given)
        for name, precision in ((BARE, "float32"), (BARE16, "bfloat16"))
    ][: 1 if runner.quick else 2]
    answers = runner.measure([Side.module(OURS, "ours.evaluate", **given), *others])
    rows = {
        name: [answer["rows"] / min(answer["round_seconds"]) for answer in found] for name, found in answers.items()
    }
    found = [_line("evaluation", "rows/s", rows[OURS], rows[side.name], side.name) for side in others]
    return found, dict(answers[OURS][0]["environment"])
