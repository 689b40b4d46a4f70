"""One method of a comparison, built: whom it invites, local training, aggregator, server optimiser."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from qfedfm.clients.jobs import LocalOptimizer
from qfedfm.clients.method import LocalMethod
from qfedfm.clients.schedule import Schedule
from qfedfm.core.errors import ConfigError
from qfedfm.core.layout import Layout
from qfedfm.core.parts import Codec, Reduce, ServerOptimizer
from qfedfm.core.registry import Entry, build, entries, find
from qfedfm.core.stack import Stack, stack
from qfedfm.core.validation import explain
from qfedfm.engine.topology import Hierarchy, check
from qfedfm.incentives.participation import Participation
from qfedfm.incentives.selector import Selector

PartConfig = str | dict[str, Any]


class Training(BaseModel):
    """Local training of a client in a round.

    Args:
        optimizer: how a client steps.
        rate: learning rate η.
        schedule: of η over all local steps of the run.
        steps: local steps a round; or
        epochs: passes over the client's rows a round.
        batch_size: rows a step.
        keep_state: whether a client keeps its optimiser's state from round to round.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    optimizer: LocalOptimizer = LocalOptimizer()
    rate: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 1e-3
    schedule: Schedule = "constant"
    steps: Annotated[int, Field(ge=1, strict=True)] | None = None
    epochs: Annotated[int, Field(ge=1, strict=True)] | None = None
    batch_size: Annotated[int, Field(ge=1, strict=True)] = 8
    keep_state: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _one_measure(self) -> Training:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("one measure of training, not both steps and epochs")
        return self

    def steps_for(self, rows: int) -> int:
        """Local steps of a client that holds this many rows; without ``steps`` and ``epochs``, one epoch."""
        return self.steps or (self.epochs or 1) * math.ceil(rows / self.batch_size)


class Stage(BaseModel):
    """Some rounds of a method with phases; what is not named is as in the method.

    Args:
        rounds: how many; None in the last stage, which takes the rest.
        reduce: as in `Method`, and so are the others.
        layers: likewise.
        server: likewise.
        local: likewise.
        selector: likewise.
        down: likewise.
        training: settings that differ.
        participation: settings of the experiment's ``[participation]`` that differ.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: Annotated[int, Field(ge=1, strict=True)] | None = None
    reduce: PartConfig | None = None
    layers: tuple[PartConfig, ...] | None = None
    server: PartConfig | None = None
    local: PartConfig | None = None
    selector: PartConfig | None = None
    down: PartConfig | None = None
    training: dict[str, Any] = {}
    participation: dict[str, Any] = {}


def _in_order(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    if any(stage.rounds is None for stage in stages[:-1]):
        raise ValueError("a number of rounds for every stage but the last")
    return stages


Stages = Annotated[tuple[Stage, ...], AfterValidator(_in_order)]
"""The stages of a method, one after the other."""


class Method(BaseModel):
    """One line of a comparison.

    Args:
        reduce: the reduce, by name or as a table of its name and options.
        layers: vector layers, a codec, a summed layer, seals, cohort layers, in the order of an update's path.
        server: the server optimiser.
        local: the local method.
        training: settings that differ from the experiment's ``[training]`` for this method only.
        selector: who chooses the invited clients; None for that of the experiment's ``[participation]``.
        down: the codec of the way down, for the difference to what clients have; None sends the whole model.
        stage: phases with other settings, in order; none for the experiment's.
        topology: who trains what, where that is more than clients around one server; then the topology aggregates, and
            of these settings only ``training`` holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reduce: PartConfig = "mean"
    layers: tuple[PartConfig, ...] = ()
    server: PartConfig = "sgd"
    local: PartConfig = "fedavg"
    training: dict[str, Any] = {}
    # left out of the settings without a value, so that experiments from before them keep their digest
    selector: PartConfig | None = Field(default=None, exclude_if=lambda selector: selector is None)
    down: PartConfig | None = Field(default=None, exclude_if=lambda down: down is None)
    stage: Stages = Field(default=(), exclude_if=lambda stages: not stages)
    topology: Hierarchy | None = Field(default=None, exclude_if=lambda topology: topology is None)


@dataclass(frozen=True)
class Arm:
    """A method with its parts built and its training settled.

    Args:
        name: of the method.
        aggregator: layers, codec and reduce.
        server: the server optimiser.
        local: the local method.
        training: of the clients.
        selector: who chooses the invited clients.
        down: the codec of the way down.
        participation: how many are invited.
        topology: who trains what; None for clients around one server.
        later: of a method with stages the later ones, each with its first round.
    """

    name: str
    aggregator: Stack
    server: ServerOptimizer
    local: LocalMethod
    training: Training
    selector: Selector
    down: Codec | None
    participation: Participation
    topology: Hierarchy | None = None
    later: tuple[tuple[int, Arm], ...] = ()

    @property
    def entry(self) -> Entry:
        """What the register says about the reduce."""
        return find(Reduce.kind, self.aggregator.reduce.name)

    @property
    def roles(self) -> tuple[Entry, Entry]:
        """What the register says about the parts that can be quantum: the reduce and the selector."""
        return self.entry, find(Selector.kind, self.selector.name)


_LAYER_KINDS = ("vector layer", "codec", "summed layer", "seal", "cohort layer")


def build_arm(name: str, method: Method, training: Training, participation: Participation) -> Arm:
    """Builds a method with its stages.

    Raises:
        ConfigError: a part or an option is unknown or out of range, or of no use to the topology.
        StackError: the parts do not fit together.
    """
    if method.topology is not None and method.stage:
        given = f"stages beside topology {method.topology.name!r} in compare.{name}"
        raise ConfigError(given, "none", "leave [[stage]] out: a topology has no phases")
    first, stages = 1, []
    for stage in method.stage or (Stage(),):
        stages.append((first, _build(name, _staged(method, stage), training, _joining(name, participation, stage))))
        first += stage.rounds or 0
    return replace(stages[0][1], later=tuple(stages[1:]))


def _staged(method: Method, stage: Stage) -> Method:
    changes = stage.model_dump(exclude={"rounds", "training", "participation"}, exclude_none=True)
    return method.model_copy(update={**changes, "training": _merge(method.training, stage.training)})


def _joining(name: str, participation: Participation, stage: Stage) -> Participation:
    try:
        return Participation.model_validate({**participation.model_dump(), **stage.participation})
    except ValidationError as error:
        raise explain(error, Participation, f"compare.{name}.stage.participation") from None


def _build(name: str, method: Method, training: Training, participation: Participation) -> Arm:
    try:
        merged = Training.model_validate(_merge(training.model_dump(exclude_none=True), method.training))
    except ValidationError as error:
        raise explain(error, Training, f"compare.{name}.training") from None
    check(name, method, merged, participation)
    layers = [build(_layer_kind(config), config) for config in method.layers]
    aggregator = stack(*layers, reduce=build("reduce", method.reduce))
    server = build("server optimiser", method.server)
    selector = build(Selector.kind, method.selector or participation.selector)
    down = None if method.down is None else build(Codec.kind, method.down)
    if down is not None and down.mirror(Layout.of({"w": (1,)})):
        raise ConfigError(f"codec {down.name!r} on the way down", "one whose receivers need no memory")
    if down is not None and down.needs_model:
        raise ConfigError(f"codec {down.name!r} on the way down", "a codec of differences")
    local = build("local method", method.local)
    return Arm(name, aggregator, server, local, merged, selector, down, participation, method.topology)


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        known = merged.get(key)
        merged[key] = _merge(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    if "steps" in changes:
        merged.pop("epochs", None)
    if "epochs" in changes:
        merged.pop("steps", None)
    return merged


def _layer_kind(config: PartConfig) -> str:
    name = config if isinstance(config, str) else config.get("name", "")
    kinds = [entry.kind for entry in entries() if entry.name == name and entry.kind in _LAYER_KINDS]
    if not kinds:
        known = [entry.name for entry in entries() if entry.kind in _LAYER_KINDS]
        raise ConfigError(f"unknown layer {name!r}", f"one of {', '.join(sorted(known))}")
    return kinds[0]
