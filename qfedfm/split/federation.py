"""What stays the same over the rounds of a run: the task, its split, the model's halves, who draws what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch.func import functional_call

from qfedfm.adapters.tensors import layout_of, load_vector, vector_of
from qfedfm.core.cohort import ClientId
from qfedfm.core.errors import ConfigError, DataError
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.split.config import HFL
from qfedfm.split.messages import FeatureFormat
from qfedfm.split.post import Hop, Kind, Letter
from qfedfm.tasks.protocol import Split, Task
from qfedfm.tasks.splittable import Halves, Splittable

_CHUNK = 256
"""Rows of one pass when the model is tested."""


Leaves = Mapping[str, torch.Tensor]
"""Trainable parameters by name, each a tensor of its own that gradients are taken for."""


def leaf(array: Float32[np.ndarray, ...]) -> torch.Tensor:
    """A copy that gradients are taken for."""
    return torch.from_numpy(np.array(array, np.float32)).requires_grad_()


@dataclass(frozen=True)
class Half:
    """One half of the model as a function of its trainable parameters, which leaves the module as it is.

    Args:
        module: with the frozen parameters.
        layout: of the trainable ones.
    """

    module: torch.nn.Module
    layout: Layout

    def leaves(self, vector: Float32[np.ndarray, " d"]) -> Leaves:
        """The parameters that a vector holds."""
        return {name: leaf(tensor) for name, tensor in self.layout.unpack(vector).items()}

    def __call__(self, leaves: Leaves, *args: torch.Tensor, **kwargs: torch.Tensor) -> torch.Tensor:
        """The half with these parameters."""
        found: torch.Tensor = functional_call(self.module, dict(leaves), args, kwargs)
        return found

    def vector(self, gradients: Sequence[torch.Tensor]) -> Float32[np.ndarray, " d"]:
        """Gradients for `leaves` as one vector."""
        return np.asarray(torch.cat([gradient.reshape(-1) for gradient in gradients]).numpy())


@dataclass(frozen=True)
class Federation:
    """One run: a configuration on a task with a seed; made by `of`.

    Args:
        config: the choice.
        task: model and data.
        key: of the seed.
        split: who holds which rows.
        model: whole; the halves share its parameters.
        halves: of the model.
        first: the first shallow and deep vectors.
        epoch: how often the run was resumed.
    """

    config: HFL
    task: Splittable
    key: Key
    split: Split
    model: torch.nn.Module
    halves: Halves
    shallow: Half
    deep: Half
    first: tuple[Float32[np.ndarray, " s"], Float32[np.ndarray, " t"]]
    epoch: int = 0

    @classmethod
    def of(cls, config: HFL, task: Task, seed: int, epoch: int = 0) -> Federation:
        """Draws what belongs to the seed: the split and the first model are those of every other method on it.

        Raises:
            ConfigError: the task cannot be cut, or not there; more clients are to take part than there are.
            DataError: a client has no training row, nobody has a test row, or a half has nothing to train.
        """
        key = Key.of(seed)
        return cls.on(config, task, key, task.split(key.fold("split")), epoch)

    @classmethod
    def on(cls, config: HFL, task: Task, key: Key, split: Split, epoch: int = 0) -> Federation:
        """`of` where a seed's key and split are at hand."""
        if not isinstance(task, Splittable):
            given = f"task {task.name!r}, whose model cannot be cut"
            raise ConfigError(given, "a Splittable task", 'use task.kind = "digits"')
        _check(config, split)
        model = task.model(key.fold("adapter"))
        halves = task.halves(model, config.cut)
        parts = [Half(module, layout_of(module)) for module in (halves.shallow, halves.deep)]
        if sum(part.layout.size for part in parts) != layout_of(model).size:
            raise DataError("halves that share a trainable parameter, or lack one", "each in one half")
        first = (vector_of(halves.shallow), vector_of(halves.deep))
        return cls(config, task, key, split, model, halves, parts[0], parts[1], first, epoch)

    @property
    def width(self) -> int:
        """m, features of a row."""
        return int(np.prod(self.halves.shape))

    def format(self, clients: int) -> FeatureFormat:
        """Of the features of so many clients' batches."""
        return FeatureFormat(self.width, self.task.classes, clients * self.config.batch_size)

    def letter(self, hop: Hop, direction: int, kind: Kind) -> Letter:
        """What a payload of this kind is."""
        return Letter(hop, direction, kind, self._layout(kind))

    def _layout(self, kind: Kind) -> Layout:
        if kind == "models":
            return self.shallow.layout
        return Layout.of({kind: (self.task.classes,) if kind == "counts" else self.halves.shape})

    @property
    def tested(self) -> np.ndarray:
        """All test rows, client after client."""
        return np.concatenate([self.split.test[client] for client in self.split.clients])

    def whole(self, shallow: Float32[np.ndarray, " s"], deep: Float32[np.ndarray, " t"]) -> Float32[np.ndarray, " d"]:
        """Both halves as the vector of the whole model, which a task saves or another method goes on with."""
        load_vector(self.halves.shallow, shallow)
        load_vector(self.halves.deep, deep)
        return vector_of(self.model)

    def outputs(
        self, shallow: Float32[np.ndarray, " s"], deep: Float32[np.ndarray, " t"], rows: np.ndarray
    ) -> Float32[np.ndarray, "n classes"]:
        """What the whole model says on some rows; features are not compressed here."""
        self.whole(shallow, deep)
        chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
        with torch.no_grad():
            found = [self.task.forward(self.model, self.task.collate(chunk).inputs) for chunk in chunks]
        return np.asarray(torch.cat(found).float().numpy())

    def counts(self, client: ClientId) -> np.ndarray:
        """How many of a client's training rows have each label."""
        return np.bincount(self.task.labels()[self.split.train[client]], minlength=self.task.classes)


def _check(config: HFL, split: Split) -> None:
    if (config.clients_per_round or 0) > len(split.clients):
        raise ConfigError(f"clients_per_round = {config.clients_per_round}", f"at most {len(split.clients)}, all")
    for client in split.clients:
        if not len(split.train[client]):
            raise DataError(f"client {client} without training rows", "at least one row for every client")
    if not any(len(rows) for rows in split.test.values()):
        raise DataError("a split without test rows", "at least one", "bring more data")
