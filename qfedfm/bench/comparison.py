"""The cases ``comparison``: six methods on three seeds as one experiment against the same runs one after the other."""

from __future__ import annotations

from typing import Any

from qfedfm.bench.cases import both, case
from qfedfm.bench.process import Side, require
from qfedfm.bench.runner import Runner
from qfedfm.bench.simulate import BARE, FLOWER, OURS, actors, peers, settings

METHODS = ("mean", "median", "trimmed-mean", "krum", "multi-krum", "geometric-median")
TARGETS = {BARE: 6.0, FLOWER: 6.0}
_GUARDED = ("trimmed-mean", "krum", "multi-krum")


def bench(runner: Runner) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All layers and, unless it is to be quick, the last two."""
    require("flwr", "ray")
    count = actors(runner)
    found: list[dict[str, Any]] = []
    environment: dict[str, Any] = {}
    for layers in ("all",) if runner.quick else ("all", 2):
        cases, environment = _compare(runner, layers, count)
        found += cases
    return found, environment


def _compare(runner: Runner, layers: str | int, count: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A peer runs the mean once for each seed; its time is multiplied by the number of methods.

    That favours the peers: their clients train alike under every method, and the mean is the cheapest to reduce.
    """
    methods, seeds, rounds = (METHODS[:3], (1,), 2) if runner.quick else (METHODS, (1, 2, 3), 3)
    experiment = settings(layers, rounds, seeds)
    reduces = {name: {"name": name, "hostile": 2} if name in _GUARDED else name for name in methods}
    ours = {key: value for key, value in experiment.items() if key != "method"}
    ours |= {"name": "comparison", "compare": {name: {"reduce": reduce} for name, reduce in reduces.items()}}
    others = peers(experiment, count, quick=True)
    answers = runner.measure([Side.module(OURS, "ours.comparison", experiment=ours), *others])
    where = "all layers" if layers == "all" else f"last {layers} layers"
    name = f"{where}: {len(methods)} methods × {len(seeds)} seeds × {rounds} rounds"
    found = []
    for side in others:
        seconds = [len(methods) * float(sum(answer["round_seconds"])) for answer in answers[side.name]]
        own = [float(answer["seconds"]) for answer in answers[OURS]]
        extra = {
            **both(answers[OURS], answers[side.name], "startup_seconds", "peak_megabytes"),
            "peer_runs_timed": len(seeds),
            "peer_runs_timed_times": len(methods),
        }
        found.append(case(name, "seconds", own, seconds, side.name, TARGETS.get(side.name), **extra))
    return found, dict(answers[OURS][0]["environment"])
