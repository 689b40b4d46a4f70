"""The choice of settings: the same budget for every method, judged on rows that nothing else sees."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qfedfm.core.errors import ConfigError
from qfedfm.engine.experiment import Experiment, Tune


@dataclass(frozen=True)
class Trial:
    """A method with settings on a seed.

    Args:
        method: the method.
        number: of the settings among the method's combinations.
        settings: dotted settings.
        seed: of the trial.
    """

    method: str
    number: int
    settings: Mapping[str, Any]
    seed: int

    @property
    def name(self) -> str:
        """What its score is called in ``tuning.json``."""
        return f"{self.method}/{self.number}/{self.seed}"


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


def trials(experiment: Experiment) -> list[Trial]:
    """All trials, none without a ``tune`` table; method by method, and for each setting all seeds."""
    if experiment.tune is None:
        return []
    return [
        Trial(method, number, settings, seed)
        for method, combinations in candidates(experiment.tune, list(experiment.methods)).items()
        for number, settings in enumerate(combinations)
        for seed in experiment.tune.seeds
    ]


def choose(experiment: Experiment, scores: Mapping[str, float]) -> dict[str, Any]:
    """Chooses, for each method, the settings with the highest mean score; of equal ones the earlier combination.

    Args:
        experiment: with a ``tune`` table.
        scores: the accuracy on the tuning rows of each trial, by its name.

    Returns:
        The ``tuning`` part of ``results.json``.
    """
    if experiment.tune is None:
        raise ConfigError("an experiment without [tune]", "a [tune] table")
    table, chosen = [], {}
    seeds = experiment.tune.seeds
    for method, combinations in candidates(experiment.tune, list(experiment.methods)).items():
        means = []
        for number, settings in enumerate(combinations):
            means.append(sum(scores[Trial(method, number, settings, seed).name] for seed in seeds) / len(seeds))
            table.append({"method": method, "settings": settings, "score": means[-1]})
        chosen[method] = combinations[means.index(max(means))]
    grid = {"shared": experiment.tune.grid, "own": experiment.tune.own}
    return {"metric": "accuracy on the tuning rows", "grid": grid, "seeds": seeds, "trials": table, "chosen": chosen}
