"""The choice of settings: the same budget for every method, judged on rows that nothing else sees."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qfedfm.core.errors import ConfigError
from qfedfm.engine.experiment import Experiment, Tune

Settings = Mapping[str, Any]


def candidates(tune: Tune, methods: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Each method's combinations of settings.

    Raises:
        ConfigError: the methods do not come to the same number of combinations.
    """
    found = {method: _product({**tune.grid, **tune.own.get(method, {})}) for method in methods}
    sizes = {method: len(combinations) for method, combinations in found.items()}
    if len(set(sizes.values())) > 1:
        given = ", ".join(f"{size} for {method}" for method, size in sizes.items())
        raise ConfigError(f"tuning budgets of {given}", "the same number for every method", "fill up tune.own")
    return found


def _product(grid: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def tune(
    experiment: Experiment,
    score: Callable[[str, Settings, int], float],
    known: Mapping[str, float],
    keep: Callable[[Mapping[str, float]], None],
) -> dict[str, Any]:
    """Runs all trials that are not ``known`` and chooses, for each method, the settings with the highest mean score.

    Of equal scores the earlier combination is taken.

    Args:
        experiment: with a ``tune`` table.
        score: plays a method with settings on a seed and gives its accuracy on the tuning rows.
        known: scores of an interrupted run.
        keep: called with all scores after each trial.

    Returns:
        The ``tuning`` part of ``results.json``.
    """
    if experiment.tune is None:
        raise ConfigError("an experiment without [tune]", "a [tune] table")
    scores, trials, chosen = dict(known), [], {}
    seeds = experiment.tune.seeds
    for method, combinations in candidates(experiment.tune, list(experiment.methods)).items():
        means = []
        for number, settings in enumerate(combinations):
            for seed in seeds:
                name = f"{method}/{number}/{seed}"
                if name not in scores:
                    scores[name] = score(method, settings, seed)
                    keep(scores)
            means.append(sum(scores[f"{method}/{number}/{seed}"] for seed in seeds) / len(seeds))
            trials.append({"method": method, "settings": settings, "score": means[-1]})
        chosen[method] = combinations[means.index(max(means))]
    grid = {"shared": experiment.tune.grid, "own": experiment.tune.own}
    return {"metric": "accuracy on the tuning rows", "grid": grid, "seeds": seeds, "trials": trials, "chosen": chosen}
