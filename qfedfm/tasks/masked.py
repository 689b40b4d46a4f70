"""Any task, its model's weights random and frozen, and masks on them that are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

from qfedfm.adapters.masks import Evaluation, mask_weights, masked_weights
from qfedfm.adapters.tensors import load_vector, vector_of
from qfedfm.core.key import Key
from qfedfm.tasks.protocol import Batch, Rows, Split, Task

GAIN = 0.7
"""Half of Kaiming's √2, which is for layers between rectifiers: transformers learn better with it."""


@dataclass(frozen=True)
class Masked:
    """FedPM's network (Isik et al., ICLR 2023, arXiv 2209.15328): weights w ∘ m, where m ~ Bernoulli(θ) and θ travels.

    The trainable weights of the inner task's linear and convolutional layers become ±g/√n for n inputs of a unit,
    and the parameters are the probabilities θ that each of them is kept. All its other parameters keep their first
    values. With codec ``bernoulli-mask``, the mean and a server that steps by 1, clients send masks and nothing else.

    Clients are trained one after the other: a mask belongs to a client's step, so that the fused engine falls back.

    Args:
        inner: the task.
        seed: draws w and what else stays as it is, the same for all runs.
        gain: g; √2 gives the paper's signed Kaiming constants.
        spread: θ is 1/(1 + exp(−s)) at first, s normal with this standard deviation.
        evaluation: ``expected`` takes w ∘ θ, ``sampled`` one mask.

    Differs from the paper: clients train θ itself, cut off at 0 and 1, and not scores s with θ = σ(s), whose gradient
    is θ(1 − θ) times as large: the server's θ is a mean of bits, so that many are 0 or 1, where a score is infinite.
    Biases are not masked. It evaluates sampled masks.
    """

    inner: Task
    seed: int = 0
    gain: float = GAIN
    spread: float = 1.0
    evaluation: Evaluation = "expected"

    @property
    def name(self) -> str:
        """What the task is called in tables."""
        return f"masked-{self.inner.name}"

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.inner.classes

    @property
    def save_adapter(self) -> Callable[[np.ndarray, str | Path], Path] | None:
        """Writes the masked network as the inner task writes its own; None where it does not."""
        return self._save if hasattr(self.inner, "save_adapter") else None

    @property
    def _frozen(self) -> Key:
        return Key.of(self.seed).fold("masked")

    def model(self, key: Key) -> torch.nn.Module:
        model = self.inner.model(self._frozen)
        mask_weights(
            model, key.fold("masks"), self._frozen, gain=self.gain, spread=self.spread, evaluation=self.evaluation
        )
        return model

    def split(self, key: Key) -> Split:
        return self.inner.split(key)

    def lengths(self) -> Int64[np.ndarray, " n"]:
        return self.inner.lengths()

    def labels(self) -> Int64[np.ndarray, " n"]:
        return self.inner.labels()

    def collate(self, rows: Rows) -> Batch:
        return self.inner.collate(rows)

    def forward(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.inner.forward(model, inputs)

    def losses(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.inner.losses(outputs, labels)

    def metrics(self, outputs: Float32[np.ndarray, "n classes"], rows: Rows) -> Mapping[str, float]:
        return self.inner.metrics(outputs, rows)

    def weights(self, theta: Float32[np.ndarray, " d"]) -> Float32[np.ndarray, " _"]:
        """The inner task's parameters as one vector: the network that is evaluated at θ."""
        masked, plain = self.model(self._frozen), self.inner.model(self._frozen)
        load_vector(masked, theta)
        parameters = dict(plain.named_parameters())
        with torch.no_grad():
            for name, weight in masked_weights(masked):
                parameters[name].copy_(weight)
        return vector_of(plain)

    def _save(self, vector: Float32[np.ndarray, " d"], folder: str | Path) -> Path:
        inner: Any = self.inner
        inner.save_adapter(self.weights(vector), folder)
        return Path(folder)
