"""FedAvg's local training: nothing besides the optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from qfedfm.clients.method import LocalMethod
from qfedfm.core.registry import part


@part("fedavg", paper="McMahan et al., AISTATS 2017, arXiv 1602.05629")
@final
@dataclass(frozen=True)
class FedAvg(LocalMethod):
    """Each client minimises its own loss Fₖ(x) from the broadcast model: the job stays as it is, no state is kept."""
