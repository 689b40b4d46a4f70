"""What a task is: a model, data, a loss and metrics. Users bring their own by writing this protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Int64

from qfedfm.core.cohort import ClientId
from qfedfm.core.key import Key

Rows = Int64[np.ndarray, " n"]
"""Row numbers of the task's data."""


@dataclass(frozen=True)
class Split:
    """Which rows belong to whom. No row is in two places, and no two near-copies are.

    Args:
        train: rows that each client trains on.
        test: rows that each client's accuracy is measured on; together they are the test set.
        validation: rows on the server, seen by reduces with an objective.
        tuning: rows on the server on which settings are chosen; never seen by a reduce.
        names: what to call each client in tables and figures.
    """

    train: Mapping[ClientId, np.ndarray]
    test: Mapping[ClientId, np.ndarray]
    validation: np.ndarray
    tuning: np.ndarray
    names: Mapping[ClientId, str]

    @property
    def clients(self) -> tuple[ClientId, ...]:
        """All client ids, ascending."""
        return tuple(sorted(self.train))


@dataclass(frozen=True)
class Batch:
    """Rows ready for the model: ``inputs`` are its keyword arguments (padded to the longest row), ``labels`` apart."""

    inputs: Mapping[str, torch.Tensor]
    labels: torch.Tensor


@runtime_checkable
class Task(Protocol):
    """Model, data, loss and metrics. All methods are deterministic; several threads may call them at once."""

    @property
    def name(self) -> str:
        """What the task is called in tables."""

    @property
    def classes(self) -> int:
        """The number of classes: the width of the outputs."""

    def model(self, key: Key) -> torch.nn.Module:
        """The model in evaluation mode, on the CPU, in float32.

        The parameters with ``requires_grad`` are what travels; ``key`` draws their first values and nothing else, so
        two keys give the same frozen parts.
        """

    def split(self, key: Key) -> Split:
        """Who holds which rows."""

    def lengths(self) -> Int64[np.ndarray, " n"]:
        """The cost of each row (its number of tokens), by which rows are sorted into batches."""

    def labels(self) -> Int64[np.ndarray, " n"]:
        """The label of each row."""

    def collate(self, rows: Rows) -> Batch:
        """The rows as one batch on the CPU."""

    def forward(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The outputs (logits), one line a row."""

    def losses(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One loss a row, so that clients and weights can be applied by the caller."""

    def metrics(self, outputs: Float32[np.ndarray, "n classes"], rows: Rows) -> Mapping[str, float]:
        """``accuracy``, ``loss`` and whatever else the task reports (``macro_f1``) on these rows."""
