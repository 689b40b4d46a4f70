"""A task whose rows are generated when they are asked for, so that a population costs no memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from qfedfm.core.key import Key
from qfedfm.tasks.metrics import classification
from qfedfm.tasks.protocol import Batch, Split

ROWS, TESTED = 16, 100
"""Rows of a client; clients with test rows, the last four of theirs."""


@dataclass(frozen=True)
class Ranges(Mapping[int, np.ndarray]):
    """Client c's rows c·16 + first … c·16 + last − 1; empty from client ``clients`` on."""

    population: int
    first: int
    last: int
    clients: int

    def __getitem__(self, client: int) -> np.ndarray:
        if not 0 <= client < self.population:
            raise KeyError(client)
        begin = client * ROWS
        rows = np.arange(begin + self.first, begin + self.last)
        return rows if client < self.clients else rows[:0]

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.population))

    def __len__(self) -> int:
        return self.population


@dataclass(frozen=True)
class Names(Mapping[int, str]):
    """Client numbers as names."""

    population: int

    def __getitem__(self, client: int) -> str:
        if not 0 <= client < self.population:
            raise KeyError(client)
        return f"client {client}"

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.population))

    def __len__(self) -> int:
        return self.population


@dataclass(frozen=True)
class Generated:
    """Gaussian classes and a multilayer perceptron.

    Args:
        clients: the population.
        features: of a row.
        hidden: units of the model; it has features·hidden + hidden + hidden·classes + classes parameters.
        classes: how many.
    """

    clients: int
    features: int = 64
    hidden: int = 256
    classes: int = 4
    name: str = "generated"

    def model(self, key: Key) -> torch.nn.Module:
        layers = torch.nn.Sequential(
            torch.nn.Linear(self.features, self.hidden), torch.nn.ReLU(), torch.nn.Linear(self.hidden, self.classes)
        )
        generator = torch.Generator().manual_seed(key.integer())
        with torch.no_grad():
            for parameter in layers.parameters():
                parameter.normal_(0, 0.05, generator=generator)
        return layers.eval()

    def split(self, key: Key) -> Split:
        train = Ranges(self.clients, 0, ROWS - 4, self.clients)
        test = Ranges(self.clients, ROWS - 4, ROWS, TESTED)
        nothing = np.zeros(0, np.int64)
        return Split(train, test, nothing, nothing, Names(self.clients))

    def lengths(self) -> np.ndarray:
        return np.broadcast_to(np.int64(1), self.clients * ROWS)

    def labels(self) -> np.ndarray:
        return np.arange(self.clients * ROWS) % self.classes

    def collate(self, rows: np.ndarray) -> Batch:
        points = np.empty((len(rows), self.features), np.float32)
        for client in np.unique(rows // ROWS):
            mine = np.flatnonzero(rows // ROWS == client)
            drawn = Key.of(3).fold("rows", int(client)).numpy().standard_normal((ROWS, self.features), dtype=np.float32)
            points[mine] = drawn[rows[mine] % ROWS]
        labels = rows % self.classes
        points[np.arange(len(rows)), labels] += 2
        return Batch({"input": torch.from_numpy(points)}, torch.from_numpy(labels))

    def forward(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        outputs: torch.Tensor = model(**inputs)
        return outputs

    def losses(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs, labels, reduction="none")

    def metrics(self, outputs: np.ndarray, rows: np.ndarray) -> Mapping[str, float]:
        return classification(outputs, rows % self.classes)


def make(**options: int) -> Generated:
    """What an experiment names as ``factory``."""
    return Generated(**options)  # type: ignore[arg-type]
