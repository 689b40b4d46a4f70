"""A task that trains in milliseconds: logistic regression on Gaussian classes, skewed over clients."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from qfedfm.core.key import Key
from qfedfm.tasks.protocol import Batch, Split


@dataclass
class TinyTask:
    """``clients`` clients with ``rows`` rows each of a mixture of three Gaussians in four dimensions."""

    clients: int = 6
    rows: int = 40
    validation: int = 30
    tuning: int = 30
    noise: float = 1.0
    name: str = "tiny"
    classes: int = 3

    @cached_property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = Key.of(5).fold("tiny").numpy()
        total = self.clients * self.rows + self.validation + self.tuning
        labels = rng.integers(0, self.classes, total)
        centres = 1.5 * rng.normal(size=(self.classes, 4))
        points = centres[labels] + self.noise * rng.normal(size=(total, 4))
        return points.astype(np.float32), labels.astype(np.int64)

    def model(self, key: Key) -> torch.nn.Module:
        layer = torch.nn.Linear(4, self.classes)
        generator = torch.Generator().manual_seed(key.integer())
        with torch.no_grad():
            layer.weight.normal_(0, 0.1, generator=generator)
            layer.bias.zero_()
        return layer

    def split(self, key: Key) -> Split:
        order = key.numpy().permutation(len(self.data[1]))
        validation, tuning = order[: self.validation], order[self.validation : self.validation + self.tuning]
        rest = order[self.validation + self.tuning :]
        rest = rest[np.argsort(self.data[1][rest], kind="stable")]
        parts = np.array_split(rest, self.clients)
        train = {client: np.sort(part[: len(part) * 3 // 4]) for client, part in enumerate(parts)}
        test = {client: np.sort(part[len(part) * 3 // 4 :]) for client, part in enumerate(parts)}
        names = {client: f"client {client}" for client in range(self.clients)}
        return Split(train, test, np.sort(validation), np.sort(tuning), names)

    def lengths(self) -> np.ndarray:
        return np.ones(len(self.data[1]), np.int64)

    def labels(self) -> np.ndarray:
        return self.data[1]

    def collate(self, rows: np.ndarray) -> Batch:
        points, labels = self.data
        return Batch({"input": torch.from_numpy(points[rows])}, torch.from_numpy(labels[rows]))

    def forward(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return model(**inputs)

    def losses(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs, labels, reduction="none")

    def metrics(self, outputs: np.ndarray, rows: np.ndarray) -> Mapping[str, float]:
        labels = self.data[1][rows]
        shifted = outputs - outputs.max(1, keepdims=True)
        logp = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        accuracy = float((outputs.argmax(1) == labels).mean())
        return {"accuracy": accuracy, "loss": float(-logp[np.arange(len(rows)), labels].mean()), "macro_f1": accuracy}

    def save_adapter(self, vector: np.ndarray, folder: Path) -> None:
        np.save(folder / "vector.npy", vector)


def make(**options: int) -> TinyTask:
    """What an experiment names as ``factory``."""
    return TinyTask(**options)


SETTINGS = {
    "name": "tiny",
    "seeds": [1],
    "rounds": 3,
    "task": {"kind": "python", "factory": "tests.engine.tiny:make"},
    "training": {"rate": 0.1, "steps": 3, "batch_size": 8, "optimizer": {"name": "sgd"}},
    "engine": {"mode": "sequential", "device": "cpu"},
}
"""The settings of an experiment on `TinyTask`; tests change what they are about."""


class Lora(torch.nn.Module):
    """x ↦ W(x + BAx) + b with A (r × 4) and B (4 × r) that are trained beside W and b."""

    def __init__(self, rank: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.lora_A = torch.nn.Linear(4, rank, bias=False)
        self.lora_B = torch.nn.Linear(rank, 4, bias=False)
        self.head = torch.nn.Linear(4, classes)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, 0.3, generator=generator)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        return self.head(input + self.lora_B(self.lora_A(input)))


class TinyLora(TinyTask):
    """The same data for a model with a LoRA module of rank 4."""

    def model(self, key: Key) -> torch.nn.Module:
        inner = Lora(4, self.classes, torch.Generator().manual_seed(key.integer()))
        return torch.nn.Sequential(OrderedDict(q=inner))

    def forward(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return model(inputs["input"])


def make_lora(**options: int) -> TinyLora:
    """What an experiment names as ``factory``."""
    return TinyLora(**options)


LORA = {"kind": "python", "factory": "tests.engine.tiny:make_lora"}
"""The task of an experiment on `TinyLora`."""
