"""Topologies: methods in which training is more than clients around one server. So far H-FL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from qfedfm.clients.jobs import LocalOptimizer
from qfedfm.core.errors import ConfigError
from qfedfm.incentives.participation import Participation
from qfedfm.incentives.selectors.uniform import Uniform
from qfedfm.split import HFL, Cut

if TYPE_CHECKING:
    from qfedfm.engine.arm import Method, Training

_Rate = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
_AGGREGATION = ("reduce", "layers", "server", "local", "down")


class Hierarchy(Cut):
    """H-FL as a table of a method; rounds, steps, batches and who takes part are those of the experiment.

    ``[training]`` steps, batch_size and schedule hold as they do for clients: a step of a mediator is one batch of each
    of its clients. Its optimizer and rate hold for both halves, but for what is named here.

    Args:
        name: tells this topology from others.
        shallow: how a mediator steps.
        shallow_rate: η of the shallow part.
        deep: how the server steps.
        deep_rate: η of the deep part.
    """

    name: Literal["h-fl"]
    shallow: LocalOptimizer | None = None
    shallow_rate: _Rate | None = None
    deep: LocalOptimizer | None = None
    deep_rate: _Rate | None = None

    def config(self, training: Training, participation: Participation, rounds: int) -> HFL:
        """The whole configuration of a run.

        Args:
            training: of the method.
            participation: likewise.
            rounds: of the run.

        Raises:
            ConfigError: ``training`` does not count in steps.
        """
        if training.steps is None:
            given = f"topology {self.name!r} without training.steps"
            raise ConfigError(given, "a number of steps", "set training.steps, for all methods or in training = { … }")
        return HFL(
            rounds=rounds,
            clients_per_round=participation.clients_per_round,
            steps=training.steps,
            batch_size=training.batch_size,
            schedule=training.schedule,
            shallow=self.shallow or training.optimizer,
            shallow_rate=self.shallow_rate or training.rate,
            deep=self.deep or training.optimizer,
            deep_rate=self.deep_rate or training.rate,
            **{name: getattr(self, name) for name in Cut.model_fields},
        )


def check(name: str, method: Method, training: Training, participation: Participation) -> None:
    """Refuses settings of a method that its topology has no use for, so that none is passed over in silence.

    Raises:
        ConfigError: there is one.
    """
    topology = method.topology
    if topology is None:
        return
    where = f"compare.{name} with topology {topology.name!r}"
    for field in _AGGREGATION:
        if getattr(method, field) != type(method).model_fields[field].default:
            raise ConfigError(f"{field!r} in {where}", "none", f"leave {field!r} out: the topology has its own way")
    selector = method.selector or participation.selector
    if (selector if isinstance(selector, str) else selector.get("name")) != Uniform.name:
        raise ConfigError(f"selector {selector!r} in {where}", f"{Uniform.name!r}", "its clients are drawn uniformly")
    if participation.dropout or participation.late:
        raise ConfigError(f"participation.dropout or late beside {where}", "0", "its clients always answer in time")
    if training.keep_state:
        raise ConfigError(f"training.keep_state in {where}", "false", "only its server keeps an optimiser's state")
    topology.config(training, participation, rounds=1)
