"""The cases ``fused``: the fused engine against the sequential one, in speed and in accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qfedfm.bench.cases import Answer, both, case, rounded
from qfedfm.bench.process import Side
from qfedfm.bench.runner import Runner
from qfedfm.bench.simulate import rate, settings
from qfedfm.report.statistics import paired

SEQUENTIAL = "sequential engine, float32"
OVERHEAD = 0.10
"""The most that the engine may add to its forward and backward passes, as a share of training."""


def bench(runner: Runner) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The machine's own device: ten clients on a CPU, 32 on a CUDA device; all layers and the last two."""
    cuda = _cuda(runner)
    found: list[dict[str, Any]] = []
    environment: dict[str, Any] = {}
    for layers in ("all", 2):
        cases, environment = _speed(runner, layers, cuda=cuda)
        found += cases
    return [*found, *_accuracy(runner)], {**environment, "cuda": cuda}


def _cuda(runner: Runner) -> bool:
    (found,) = runner.measure([Side.module("devices", "ours.devices")], 1)["devices"]
    return bool(found["cuda"])


def _speed(runner: Runner, layers: str | int, *, cuda: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    experiment = settings(layers, 1 if runner.quick else 5)
    if cuda:
        experiment["task"] |= {"partition": {"name": "iid", "clients": 32}}
    where = f"{'all layers' if layers == 'all' else f'last {layers} layers'}, {32 if cuda else 10} clients"
    engines = {
        "fused, bfloat16": {"mode": "fused", "precision": "bfloat16"},
        "fused, float32": {"mode": "fused", "precision": "float32"},
        SEQUENTIAL: {"mode": "sequential"},
    }
    if runner.quick:
        del engines["fused, float32"]
    sides = [
        Side.module(name, "ours.fused", experiment={**experiment, "engine": engine}, take_apart=name != SEQUENTIAL)
        for name, engine in engines.items()
    ]
    answers = runner.measure(sides)
    found = []
    for name in list(engines)[:-1]:
        rates = [[rate(answer) for answer in answers[side]] for side in (name, SEQUENTIAL)]
        extra = both(answers[name], answers[SEQUENTIAL], "startup_seconds", "peak_megabytes")
        found.append(
            case(f"{name}: {where}", "client-steps/s", rates[0], rates[1], SEQUENTIAL, 10.0 if cuda else None, **extra)
        )
    fastest = answers[next(iter(engines))]
    return [*found, *_overhead(fastest, where)], dict(fastest[0]["environment"])


def _overhead(answers: Sequence[Answer], where: str) -> list[dict[str, Any]]:
    shares = [100 * float(answer["overhead"]) for answer in answers if answer["overhead"] is not None]
    if not shares:
        return []
    name = f"fused, bfloat16: beside forward and backward, {where}"
    return [case(name, "% of training", shares, [100 * OVERHEAD] * len(shares), "the most that it may be", 1.0)]


def _accuracy(runner: Runner) -> list[dict[str, Any]]:
    """Paired over seeds: each has the same split, first adapter and order of rows in both engines."""
    experiment = settings(2, 1 if runner.quick else 6, (1, 2) if runner.quick else (1, 2, 3, 4, 5))
    experiment["task"] |= {"test_rows": 16 if runner.quick else 64}
    # without its pooler the model would still call every tweet the same after these rounds, and any two engines agree
    experiment["task"]["adapter"]["options"] |= {"modules_to_save": ["pooler"]}
    experiment["training"] |= {"rate": 3e-3}
    names = ("fused, bfloat16", SEQUENTIAL)
    engines: tuple[dict[str, str], ...] = ({"mode": "fused", "precision": "bfloat16"}, {"mode": "sequential"})
    sides = [
        Side.module(name, "ours.accuracy", experiment={**experiment, "engine": engine})
        for name, engine in zip(names, engines, strict=True)
    ]
    answers = runner.measure(sides, 1)
    ours, peer = ([100 * float(value) for value in answers[name][0]["accuracies"]] for name in names)
    found = paired(ours, peer)
    about: dict[str, Any] = {
        "difference": rounded(found.mean),
        "ci95": None if found.interval is None else [rounded(end) for end in found.interval],
        "differences": [rounded(one - other) for one, other in zip(ours, peer, strict=True)],
    }
    return [case(f"accuracy over {found.n} seeds", "% right", ours, peer, SEQUENTIAL, **about)]
