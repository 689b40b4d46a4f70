"""The server in a round: it holds the deep part and sees features, labels, and updates of the shallow part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32

from qfedfm.clients.schedule import rates
from qfedfm.core import wire
from qfedfm.core.cohort import State
from qfedfm.core.errors import PayloadError
from qfedfm.split.federation import Federation, leaf
from qfedfm.split.lowrank import Answer, Factors, answer
from qfedfm.split.messages import Features, model_length, read_model, write_gradient, write_numbers
from qfedfm.split.post import Post
from qfedfm.split.stepper import Stepper


@dataclass(frozen=True)
class Judged:
    """What the deep part makes of one mediator's batch.

    Args:
        rows: of the batch.
        loss: mean over them.
        reply: what goes back of the gradient of the features.
        deep: the gradient of the deep part.
    """

    rows: int
    loss: float
    reply: Float32[np.ndarray, "n m"] | Answer
    deep: Float32[np.ndarray, " t"]


class Server:
    """The deep part and its optimiser.

    Args:
        federation: the run.
        post: of the round.
        round_: the round.
        shallow: before the round.
        deep: before the round.
        state: of the deep part's optimiser.
    """

    def __init__(
        self,
        federation: Federation,
        post: Post,
        round_: int,
        shallow: Float32[np.ndarray, " s"],
        deep: Float32[np.ndarray, " t"],
        state: State,
    ) -> None:
        config = federation.config
        self._federation, self._post, self._start = federation, post, shallow
        self._rates = rates(config.deep_rate, config.schedule, config.steps, round_, config.rounds)
        self._deep = Stepper(deep, config.deep, state)
        self._rows: dict[int, int] = {}
        self.losses: list[float] = []

    @property
    def deep(self) -> tuple[Float32[np.ndarray, " t"], State]:
        """The deep part as it is, and its optimiser's state."""
        return self._deep.vector, self._deep.state

    def broadcast(self, mediators: int) -> bytes:
        """The shallow part, one payload for so many mediators."""
        letter = self._federation.letter("core", wire.DOWN, "models")
        return self._post.seal(letter, wire.EVERYONE, write_numbers(0, self._start), copies=mediators)

    def judge(self, mediator: int, clients: int, payload: bytes, step: int) -> Judged:
        """Forward and backward through the deep part, on a mediator's features.

        Raises:
            PayloadError: the payload is not as it should be, or its loss or a gradient is not finite.
        """
        letter, form = self._federation.letter("core", wire.UP, "features"), self._federation.format(clients)
        body, samples = self._post.open(letter, mediator, payload, form.largest)
        return self._judge(form.read(body, samples, step))

    def _judge(self, features: Features) -> Judged:
        dense, federation = features.dense, self._federation
        if not np.isfinite(dense).all():
            raise PayloadError("features whose product is not finite", "factors of finite features")
        deep, inputs = federation.deep.leaves(self._deep.vector), leaf(dense)
        outputs = federation.deep(deep, inputs.view(-1, *federation.halves.shape))
        loss = federation.task.losses(outputs, torch.from_numpy(features.labels)).mean()
        gradient, *own = torch.autograd.grad(loss, (inputs, *deep.values()), materialize_grads=True)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in (loss, gradient, *own)):
            raise PayloadError("features with a loss or a gradient that is not finite", "finite numbers only")
        reply = self._reply(features, gradient.numpy())
        return Judged(len(features.labels), float(loss.detach()), reply, federation.deep.vector(own))

    def _reply(self, features: Features, gradient: Float32[np.ndarray, "n m"]) -> Float32[np.ndarray, "n m"] | Answer:
        matrix, correction = features.matrix, self._federation.config.correction
        return (
            gradient
            if correction == "none" or not isinstance(matrix, Factors)
            else answer(matrix, gradient, correction)
        )

    def step(self, judged: Mapping[int, Judged], step: int) -> dict[int, bytes]:
        """One step down the mean over all rows; gives the payload for each mediator."""
        rows = sum(one.rows for one in judged.values())
        parts = [(one.rows / rows) * one.deep.astype(np.float64) for one in judged.values()]
        self._deep.step(np.sum(parts, axis=0), float(self._rates[step]))
        self.losses.append(sum(one.rows / rows * one.loss for one in judged.values()))
        letter = self._federation.letter("core", wire.DOWN, "gradients")
        for mediator, one in judged.items():
            self._rows[mediator] = self._rows.get(mediator, 0) + one.rows
        return {
            mediator: self._post.seal(letter, mediator, write_gradient(step, one.reply))
            for mediator, one in judged.items()
        }

    def update(self, mediator: int, payload: bytes) -> Float32[np.ndarray, " s"]:
        """A mediator's update of the shallow part.

        Raises:
            PayloadError: the payload is not as it should be.
        """
        size = self._federation.shallow.layout.size
        letter = self._federation.letter("core", wire.UP, "models")
        body, _ = self._post.open(letter, mediator, payload, model_length(size))
        return read_model(body, self._federation.config.steps, size)

    def average(self, updates: Mapping[int, Float32[np.ndarray, " s"]]) -> Float32[np.ndarray, " s"]:
        """The shallow part plus the mean update, each mediator weighted with the rows that the server saw of it."""
        weights: Sequence[float] = [float(self._rows[mediator]) for mediator in updates]
        mean = np.average([update.astype(np.float64) for update in updates.values()], axis=0, weights=weights)
        with np.errstate(over="ignore"):
            return np.asarray(self._start.astype(np.float64) + mean, np.float32)
