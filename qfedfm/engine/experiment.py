"""The experiment: a frozen, validated configuration that yields the same numbers from the same seeds."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from qfedfm.clients.attack import Attack
from qfedfm.core.errors import ConfigError
from qfedfm.core.progress import Watch, silent
from qfedfm.core.registry import build
from qfedfm.core.validation import explain
from qfedfm.engine.arm import Arm, Method, PartConfig, Stages, Training, build_arm
from qfedfm.engine.compute import Engine
from qfedfm.engine.custom import CustomTask
from qfedfm.engine.dotted import put
from qfedfm.engine.keysources import Links
from qfedfm.engine.security import Security
from qfedfm.engine.tasks import AnyTask, MaskedTask
from qfedfm.incentives.participation import Participation
from qfedfm.incentives.selector import Selector
from qfedfm.tasks.text import TextClassification

if TYPE_CHECKING:
    from qfedfm.engine.result import Result
    from qfedfm.engine.run import Round
    from qfedfm.tasks.protocol import Task


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Whole = Annotated[int, Field(strict=True)]
"""A whole number; true, 2.0 and "2" are none."""


def _different(numbers: tuple[int, ...], what: str) -> tuple[int, ...]:
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"different {what}")
    return numbers


class Hostile(_Model):
    """Hostile clients.

    Args:
        clients: how many (drawn anew for each seed), or which client ids.
        attack: what they do, by name or as a table of its name and options.
    """

    clients: Annotated[Whole, Field(ge=0)] | tuple[Annotated[Whole, Field(ge=0)], ...]
    attack: PartConfig = "sign-flip"

    @field_validator("clients")
    @classmethod
    def _apart(cls, clients: int | tuple[int, ...]) -> int | tuple[int, ...]:
        return clients if isinstance(clients, int) else _different(clients, "clients")

    def build(self) -> Attack:
        """The attack.

        Raises:
            ConfigError: it or an option of it is unknown or out of range.
        """
        attack: Attack = build(Attack.kind, self.attack)
        return attack


class Tune(_Model):
    """The choice of settings, with the same budget for every method.

    Every method is run with every combination of ``grid`` and of its own table in ``own``; the combination with the
    highest mean accuracy on the task's tuning rows is taken: rows that no client, no reduce and no test of that seed
    sees. Another seed splits anew, so some of them are test rows there; what that leaks is one choice. All methods
    must come to the same number of combinations.

    Args:
        grid: dotted settings and their candidates, such as ``"training.rate" = [1e-3, 3e-3]`` or ``"server.lr" = […]``.
        own: further settings for single methods.
        seeds: seeds of the trials; none of them may be a seed of the experiment.
        rounds: rounds of a trial; None for as many as the experiment has.
    """

    grid: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = {}
    own: dict[str, dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]]] = {}
    seeds: Annotated[tuple[Whole, ...], Field(min_length=1)] = (1000,)
    rounds: Annotated[Whole, Field(ge=1)] | None = None

    @field_validator("seeds")
    @classmethod
    def _apart(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        return _different(seeds, "seeds")


class Experiment(_Model):
    """One experiment: a task, a way of training, and one method or a comparison of several, over seeds.

    Args:
        name: what the run's folder is called.
        seeds: each gives its own split, first adapter, data order and hostile clients, the same for all methods.
        total_rounds: rounds of federated training; ``rounds`` in TOML and as an argument.
        task: model and data.
        training: local training.
        participation: who takes part in a round.
        hostile: hostile clients, or None.
        method: the method of an experiment without a comparison.
        compare: methods by name; runs all of them on all seeds.
        stage: phases of every method that names none of its own; ``[[stage]]`` in TOML.
        tune: the choice of settings before the comparison, or None.
        engine: device and precision.
        security: how updates and models are protected on their way; nothing is without it.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "experiment"
    seeds: Annotated[tuple[Whole, ...], Field(min_length=1)] = (1,)
    total_rounds: Annotated[Whole, Field(ge=1, alias="rounds")] = 4
    task: AnyTask = TextClassification()
    training: Training = Training()
    participation: Participation = Participation()
    hostile: Hostile | None = None
    method: Method = Method()
    compare: dict[str, Method] = {}
    stage: Stages = Field(default=(), exclude_if=lambda stages: not stages)
    tune: Tune | None = None
    engine: Engine = Engine()
    security: Security = Field(default=Security(), exclude_if=lambda security: security == Security())

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        return _different(seeds, "seeds")

    @field_validator("compare")
    @classmethod
    def _names(cls, methods: dict[str, Method]) -> dict[str, Method]:
        for name in methods:
            if not name or not all(letter.isalnum() or letter in "-_." for letter in name) or name.startswith("."):
                raise ValueError(f"method names of letters, digits, '-', '_' and '.', not {name!r}")
        return methods

    @model_validator(mode="after")
    def _apart(self) -> Experiment:
        if self.compare and self.method != Method():
            raise ValueError("[method] or [compare], not both")
        for stages in (self.stage, *(method.stage for method in self.methods.values())):
            planned = sum(stage.rounds or 0 for stage in stages)
            if stages and (planned >= self.total_rounds if stages[-1].rounds is None else planned != self.total_rounds):
                raise ValueError(f"stages that make up the {self.total_rounds} rounds, not {planned}")
        if self.tune is not None:
            both = set(self.seeds) & set(self.tune.seeds)
            if both:
                raise ValueError(f"tune.seeds apart from seeds, not {min(both)} in both")
            unknown = set(self.tune.own) - set(self.methods)
            if unknown:
                raise ValueError(f"tune.own for methods of the comparison, not {min(unknown)!r}")
        return self

    @classmethod
    def load(cls, path: str | Path, changes: Mapping[str, Any] | None = None) -> Experiment:
        """Reads a TOML file.

        Args:
            path: the file.
            changes: dotted keys and values that replace those of the file, as ``--set`` does.

        Raises:
            ConfigError: no such file, no valid TOML, an unknown key (the nearest is named), a wrong type or range.
        """
        path = Path(path)
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"{path} cannot be read ({reason})", "an experiment file", "check the path") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path} is not valid TOML ({error})", "an experiment file", "mend that line") from None
        settings.setdefault("name", re.sub("[^A-Za-z0-9._-]+", "-", path.stem).strip("-._") or "experiment")
        for key, value in (changes or {}).items():
            put(settings, key, value)
        return cls.of(settings)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Experiment:
        """An experiment from nested settings, with one-line errors; see `load`."""
        try:
            experiment = cls.model_validate(settings)
        except pydantic.ValidationError as error:
            raise explain(error, cls) from None
        build(Selector.kind, experiment.participation.selector)
        for name in experiment.methods:
            experiment.arm(name)
        if experiment.hostile is not None:
            experiment.hostile.build()
        experiment.security.build()
        return experiment

    @property
    def methods(self) -> dict[str, Method]:
        """The methods by name; without a comparison the one method, called after its topology or reduce."""
        if self.compare:
            return dict(self.compare)
        if self.method.topology is not None:
            return {self.method.topology.name: self.method}
        reduce = self.method.reduce
        return {reduce if isinstance(reduce, str) else str(reduce.get("name")): self.method}

    def arm(self, name: str, settings: Mapping[str, Any] | None = None) -> Arm:
        """A method with its parts built, with dotted ``settings`` (of a tuning grid) in place."""
        method = self.methods[name]
        tree = {"training": {}, "selector": self.participation.selector, **method.model_dump()}
        for key, value in (settings or {}).items():
            part, _, option = key.partition(".")
            known = ("reduce", "server", "local", "selector", "training", *(["topology"] if "topology" in tree else []))
            if part not in known or not option:
                raise ConfigError(f"tuning key {key!r}", f"{'.…, '.join(known[:-1])}.… or {known[-1]}.…")
            if isinstance(tree[part], str):
                tree[part] = {"name": tree[part]}
            put(tree[part], option, value)
        tree["stage"] = method.stage or self.stage
        try:
            chosen = Method.model_validate(tree)
        except pydantic.ValidationError as error:
            raise explain(error, Method, f"compare.{name}") from None
        return build_arm(name, chosen, self.training, self.participation)

    @property
    def settings(self) -> dict[str, Any]:
        """The whole configuration, defaults included (but for selectors), as JSON values; `of` reads it back."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that stand for the whole configuration."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def build_task(self) -> Task:
        """The task, ready to use.

        Raises:
            ConfigError: the factory of a custom task cannot be imported or returns something else.
        """
        return self.task.build() if isinstance(self.task, CustomTask | MaskedTask) else self.task

    def run(
        self,
        out: str | Path | None = None,
        *,
        resume: bool = False,
        task: Task | None = None,
        watch: Watch = silent,
        profile: str | Path | None = None,
        links: Links | None = None,
    ) -> Result:
        """Runs all methods and seeds and writes the results into ``out`` (default ``runs/<name>``).

        Args:
            out: the folder.
            resume: go on where an interrupted run of the same experiment stopped.
            task: used instead of the one in the configuration.
            watch: called with an `Event` after each round.
            profile: where to write a Chrome trace of where the time went, or None.
            links: gives each party (``server``, ``client-0`` …) its source of keys; None for simulated links.

        Raises:
            CheckpointError: the folder holds results and ``resume`` is false, or they are of another experiment.
        """
        from qfedfm.engine.profile import profiling
        from qfedfm.engine.run import run

        folder = Path(out) if out else Path("runs") / self.name
        with profiling(Path(profile)) if profile is not None else nullcontext():
            return run(self, folder, resume=resume, task=task, watch=watch, links=links)

    def rounds(
        self,
        method: str | None = None,
        seed: int | None = None,
        task: Task | None = None,
        links: Links | None = None,
    ) -> Iterator[Round]:
        """One method on one seed, a round at a time, in memory, for notebooks; round 0 is the model before training."""
        from qfedfm.engine.run import play

        return play(self, method or next(iter(self.methods)), self.seeds[0] if seed is None else seed, task, links)
