"""A mediator in a round: it stands between its clients and the server, and holds the shallow part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from qfedfm.clients.schedule import rates
from qfedfm.core import wire
from qfedfm.core.errors import PayloadError
from qfedfm.split.client import Client
from qfedfm.split.federation import Federation
from qfedfm.split.lowrank import Factors, Spectrum, corrected
from qfedfm.split.messages import (
    Features,
    model_length,
    pays,
    read_answer,
    read_model,
    read_whole,
    write_numbers,
)
from qfedfm.split.noise import noised
from qfedfm.split.post import Post
from qfedfm.split.stepper import Stepper


@dataclass(frozen=True)
class _Sent:
    """What a mediator keeps of a batch until its gradient comes: what went up, its spectrum, where clients end."""

    features: Features
    spectrum: Spectrum | None
    ends: Sequence[int]


class Mediator:
    """One mediator, its clients and its copy of the shallow part.

    Args:
        federation: the run.
        post: of the round.
        number: of the mediator in the round.
        clients: whom it gathers, ascending.
        round_: the round.
        payload: the server's broadcast of the shallow part.

    Raises:
        PayloadError: the broadcast is not as it should be.
    """

    def __init__(
        self, federation: Federation, post: Post, number: int, clients: Sequence[Client], round_: int, payload: bytes
    ) -> None:
        config, size = federation.config, federation.shallow.layout.size
        self.number, self.clients = number, tuple(clients)
        self.lost: list[float] = []
        self._federation, self._post, self._round = federation, post, round_
        self._rates = rates(config.shallow_rate, config.schedule, config.steps, round_, config.rounds)
        letter = federation.letter("core", wire.DOWN, "models")
        body, _ = post.open(letter, wire.EVERYONE, payload, model_length(size))
        self._start = read_model(body, 0, size)
        self._shallow = Stepper(self._start, config.shallow)
        self._sent: _Sent | None = None

    def collect(self, step: int) -> bytes:
        """The features of all its clients' batches, compressed.

        Raises:
            PayloadError: a client's payload is not as it should be.
        """
        parts = [self._features_of(client, step) for client in self.clients]
        labels, whole = (np.concatenate(list(each)) for each in ((p.labels for p in parts), (p.dense for p in parts)))
        rank = max(1, round(self._federation.config.ratio * min(whole.shape)))
        spectrum = Spectrum.of(whole) if pays(rank, *whole.shape) else None
        features = Features(labels, whole if spectrum is None else spectrum.truncated(rank))
        self.lost.append(0.0 if spectrum is None else spectrum.lost(rank))
        self._sent = _Sent(features, spectrum, np.cumsum([len(part.labels) for part in parts]).tolist())
        letter, form = self._federation.letter("core", wire.UP, "features"), self._federation.format(len(self.clients))
        return self._post.seal(letter, self.number, form.write(step, features), len(labels))

    def _features_of(self, client: Client, step: int) -> Features:
        letter = self._federation.letter("edge", wire.DOWN, "models")
        model = self._post.seal(letter, client.client, write_numbers(step, self._shallow.vector))
        payload, form = client.forward(model, step), self._federation.format(1)
        letter = self._federation.letter("edge", wire.UP, "features")
        body, samples = self._post.open(letter, client.client, payload, form.largest)
        return form.read(body, samples, step)

    def correct(self, payload: bytes, step: int) -> None:
        """Takes the gradient of what was sent, corrects it, hands it to the clients and steps with what they answer.

        Raises:
            PayloadError: the server's payload, or a client's, is not as it should be.
        """
        sent = self._sent
        if sent is None:
            raise PayloadError("a gradient for features that were not sent", "an answer")
        gradient = self._gradient(payload, step, sent)
        parts = np.split(gradient, sent.ends[:-1])
        found = [self._shallow_gradient(client, part, step) for client, part in zip(self.clients, parts, strict=True)]
        self._shallow.step(np.sum(found, axis=0), float(self._rates[step]))
        self._sent = None

    def _gradient(self, payload: bytes, step: int, sent: _Sent) -> Float32[np.ndarray, "n m"]:
        matrix, correction = sent.features.matrix, self._federation.config.correction
        rows, width = len(sent.features.labels), self._federation.width
        letter = self._federation.letter("core", wire.DOWN, "gradients")
        body, _ = self._post.open(letter, self.number, payload, model_length(rows * width))
        if correction == "none" or sent.spectrum is None or not isinstance(matrix, Factors):
            return read_whole(body, step, rows, width)
        return corrected(sent.spectrum, read_answer(body, step, matrix, correction), correction)

    def _shallow_gradient(
        self, client: Client, gradient: Float32[np.ndarray, "n m"], step: int
    ) -> Float64[np.ndarray, " s"]:
        size = self._federation.shallow.layout.size
        letter = self._federation.letter("edge", wire.DOWN, "gradients")
        payload = client.backward(self._post.seal(letter, client.client, write_numbers(step, gradient)), step)
        letter = self._federation.letter("edge", wire.UP, "models")
        body, _ = self._post.open(letter, client.client, payload, model_length(size))
        return read_model(body, step, size).astype(np.float64)

    def finish(self) -> bytes:
        """The round's update of the shallow part, clipped and with its noise."""
        config = self._federation.config
        key = self._federation.key.fold("noise", self._round, self.number)
        update = noised(self._shallow.vector - self._start, config.clipping_norm, config.noise, key)
        letter = self._federation.letter("core", wire.UP, "models")
        return self._post.seal(letter, self.number, write_numbers(config.steps, update))
