"""The cases ``scale``: what a large population and a large cohort cost. The peer is the library itself, smaller."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from qfedfm.bench.cases import Answer, Answers, both, case
from qfedfm.bench.process import Side
from qfedfm.bench.runner import Runner

SAMPLED = 100
POPULATIONS = (10, 100, 1_000, 10_000, 100_000)
COHORTS = (10, 100, 1_000)


def settings(clients: int, sampled: int, rounds: int, hidden: int) -> dict[str, Any]:
    """Clients whose rows are generated from their id and a key; a step is eight rows."""
    return {
        "name": "scale",
        "seeds": [1],
        "rounds": rounds,
        "task": {
            "kind": "python",
            "factory": "qfedfm.bench.ours.generated:make",
            "options": {"clients": clients, "hidden": hidden},
        },
        "training": {"steps": 4, "batch_size": 8, "rate": 0.05, "optimizer": {"name": "sgd"}},
        "participation": {"clients_per_round": sampled},
        "method": {"reduce": "mean"},
    }


def cohort(n: int) -> dict[str, Any]:
    """Rounds in which ``n`` clients send 282,628 numbers each after one step, one client after the other."""
    made = settings(n, n, 2, 4_096)
    return made | {"training": {**made["training"], "steps": 1}, "engine": {"mode": "sequential"}}


def bench(runner: Runner) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A round of a hundred out of N clients, then a round of K out of K."""
    rounds = 6 if runner.quick else 41
    populations = {f"{n:,} clients": settings(n, min(n, SAMPLED), rounds, 256) for n in POPULATIONS}
    cohorts = {f"cohort of {n:,}": cohort(n) for n in COHORTS}
    sides = [
        Side.module(name, "ours.scale", experiment=experiment)
        for name, experiment in {**populations, **cohorts}.items()
    ]
    answers = runner.measure(sides)
    found = [*_populations(answers), *_cohorts(answers)]
    environment = answers[f"{SAMPLED:,} clients"][0]["environment"]
    return found, dict(environment)


def _populations(answers: Answers) -> list[dict[str, Any]]:
    """Seconds for each client of a round, since ten clients cannot be a hundred."""
    base, found = answers[f"{SAMPLED:,} clients"], []
    for n in POPULATIONS:
        ours, sampled = answers[f"{n:,} clients"], min(n, SAMPLED)
        own, other = _seconds(ours, sampled), _seconds(base, SAMPLED)
        about = {"clients": n, "sampled": sampled}
        extra: dict[str, Any] = {"per": "client of the round", **both(ours, base, "startup_seconds"), **about}
        peer, target = f"ours at {SAMPLED} out of {SAMPLED}", 1 / 1.1 if n > SAMPLED else None
        found.append(case(f"round of {sampled} out of {n:,}", "seconds", own, other, peer, target, **extra))
        found.append(case(f"memory, {n:,} clients", "MB", _megabytes(ours), _megabytes(base), peer, **about))
    return found


def _cohorts(answers: Answers) -> list[dict[str, Any]]:
    """Up to a few rows are held back to be added at once, so that ten clients need less than a hundred."""
    base = _megabytes(answers[f"cohort of {SAMPLED:,}"])
    peer = f"ours at a cohort of {SAMPLED}"
    return [
        case(
            f"memory of a mean, cohort of {n:,}", "MB", _megabytes(answers[f"cohort of {n:,}"]), base, peer,
            0.9 if n > SAMPLED else None, cohort=n,
        )
        for n in COHORTS
    ]  # fmt: skip


def _seconds(answers: Sequence[Answer], sampled: int) -> list[float]:
    return [median(float(value) for value in answer["round_seconds"]) / sampled for answer in answers]


def _megabytes(answers: Sequence[Answer]) -> list[float]:
    return [float(answer["megabytes"]) for answer in answers]
