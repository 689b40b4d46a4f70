"""FedProx: local training that is held near the broadcast model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, final

from pydantic import Field

from qfedfm.clients.jobs import Job
from qfedfm.clients.method import LocalMethod
from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import State
from qfedfm.core.registry import part


@part("fedprox", paper="Li et al., MLSys 2020, arXiv 1812.06127, equation 2")
@final
@dataclass(frozen=True)
class FedProx(LocalMethod):
    """Each client minimises Fₖ(x) + μ/2 · ‖x − start‖², that is, μ (x − start) is added to its gradient.

    Args:
        mu: μ; 0 is FedAvg.

    Raises:
        ConfigError: μ is negative or not finite.

    Differs from the paper: the inexactness γ is not measured; the number of local steps is set instead.
    """

    mu: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01

    def __post_init__(self) -> None:
        check_fields(self)

    def prepare(self, job: Job, server: State, own: State) -> Job:
        return replace(job, proximal=self.mu)
