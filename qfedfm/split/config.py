"""H-FL as a configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from qfedfm.clients.jobs import LocalOptimizer
from qfedfm.clients.schedule import Schedule

Correction = Literal["none", "projected", "tangent", "exact"]


class Cut(BaseModel):
    """What of `HFL` no other method has: where the model is cut, and what becomes of features and gradients.

    Args:
        cut: as in `HFL`, and so are the others.
        clients_per_mediator: likewise.
        ratio: likewise.
        correction: likewise.
        clipping_norm: likewise.
        noise: likewise.

    Raises:
        ValueError: (as pydantic's ValidationError) an unknown field, a wrong type, a value out of range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cut: Annotated[int, Field(ge=0, strict=True)] = 1
    clients_per_mediator: Annotated[int, Field(ge=1, strict=True)] = 5
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    correction: Correction = "exact"
    clipping_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    noise: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    @model_validator(mode="after")
    def _noise_has_a_scale(self) -> Cut:
        if self.noise and self.clipping_norm is None:
            raise ValueError("a clipping_norm beside noise, which is measured in it")
        return self


class HFL(Cut):
    """Hierarchical federated learning over a model that is cut in two.

    From He Yang, "H-FL: A Hierarchical Communication-Efficient and Privacy-Protected Architecture for Federated
    Learning", IJCAI 2021 (arXiv 2106.00275). The page ``docs/h-fl.md`` has the equations.

    Differs from the paper: whose equations are not repeated in what we could read of it. The gradient's correction, the
    first client of a mediator and the place of the noise are our reading.

    Args:
        rounds: of training.
        cut: which of the task's cuts; 0 leaves the least to the clients.
        clients_per_round: how many take part, those that a uniform choice invites in `Participation`; None for all.
        clients_per_mediator: the most that a mediator gathers.
        steps: of a mediator in a round, each with one batch of each of its clients.
        batch_size: rows of a client in a step; a client with fewer gives all of them.
        ratio: rank of the features that travel, as a share of the largest that a batch can have; 1 sends all.
        correction: what becomes of the gradient that comes back, see `qfedfm.split.lowrank`.
        shallow: how a mediator steps; its moments begin anew in each round, because mediators do.
        shallow_rate: η of the shallow part.
        deep: how the server steps.
        deep_rate: η of the deep part.
        schedule: of both rates over all steps of the run.
        clipping_norm: C, the most that a mediator's update of the shallow part may measure (L2); None for no limit.
        noise: σ; N(0, σ²C²) is added to each coordinate of a mediator's update before it is sent.

    Raises:
        ValueError: (as pydantic's ValidationError) an unknown field, a wrong type, a value out of range.

    Example:
        >>> HFL(ratio=0.25, clipping_norm=1.0, noise=0.5).correction
        'exact'
    """

    rounds: Annotated[int, Field(ge=1, strict=True)] = 10
    clients_per_round: Annotated[int, Field(ge=1, strict=True)] | None = None
    steps: Annotated[int, Field(ge=1, strict=True)] = 5
    batch_size: Annotated[int, Field(ge=1, strict=True)] = 8
    shallow: LocalOptimizer = LocalOptimizer()
    shallow_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3e-3
    deep: LocalOptimizer = LocalOptimizer()
    deep_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3e-3
    schedule: Schedule = "constant"
