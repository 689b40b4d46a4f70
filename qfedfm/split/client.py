"""A client in a round: it sees its own rows, and the shallow part as its mediator sends it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from qfedfm.clients.schedule import batches
from qfedfm.core import wire
from qfedfm.core.cohort import ClientId
from qfedfm.split.federation import Federation, Leaves
from qfedfm.split.messages import Features, model_length, read_model, read_whole, write_numbers
from qfedfm.split.post import Post


class Client:
    """One client of a mediator.

    Args:
        federation: the run.
        post: of the round.
        client: its id.
        round_: draws its batches.
    """

    def __init__(self, federation: Federation, post: Post, client: ClientId, round_: int) -> None:
        config, key = federation.config, federation.key.fold("batches", round_, client)
        self.client = client
        self._federation, self._post = federation, post
        rows = federation.split.train[client]
        self._batches: Sequence[np.ndarray] = batches(rows, config.steps, config.batch_size, key)
        self._model: Leaves = {}
        self._features = torch.empty(0)

    def forward(self, payload: bytes, step: int) -> bytes:
        """The features and labels of the step's batch, whole, for the shallow part in ``payload``."""
        federation, size = self._federation, self._federation.shallow.layout.size
        letter = federation.letter("edge", wire.DOWN, "models")
        body, _ = self._post.open(letter, self.client, payload, model_length(size))
        self._model = federation.shallow.leaves(read_model(body, step, size))
        batch = federation.task.collate(self._batches[step])
        self._features = federation.shallow(self._model, **batch.inputs).flatten(1)
        features = Features(batch.labels.numpy(), self._features.detach().numpy())
        letter = federation.letter("edge", wire.UP, "features")
        rows = len(features.labels)
        return self._post.seal(letter, self.client, federation.format(1).write(step, features), rows)

    def backward(self, payload: bytes, step: int) -> bytes:
        """The gradient of the shallow part, for the gradient of the features in ``payload``."""
        rows, width = self._features.shape
        letter = self._federation.letter("edge", wire.DOWN, "gradients")
        body, _ = self._post.open(letter, self.client, payload, model_length(rows * width))
        gradient = torch.from_numpy(read_whole(body, step, rows, width))
        found = torch.autograd.grad(self._features, tuple(self._model.values()), gradient, materialize_grads=True)
        letter = self._federation.letter("edge", wire.UP, "models")
        return self._post.seal(letter, self.client, write_numbers(step, self._federation.shallow.vector(found)), rows)
