"""What all sides of a case see: the same rows in the same order, the same first adapter, the same learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from qfedfm.clients.schedule import batches
from qfedfm.core.key import Key
from qfedfm.tasks.protocol import Split
from qfedfm.tasks.text import TextClassification

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(frozen=True)
class Federation:
    """An experiment's clients without its training code.

    Args:
        task: reads the texts, tokenises them and loads the model with transformers and peft.
        seed: of the split, the first adapter and the order of the rows.
        rounds: how many.
        steps: local steps of a client in a round.
        batch_size: rows of a step.
        rate: learning rate of AdamW, constant.
    """

    task: TextClassification
    seed: int
    rounds: int
    steps: int
    batch_size: int
    rate: float

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Federation:
        """The federation of the first seed of an experiment's settings, as the library's own side gets them."""
        training = settings["training"]
        return cls(
            TextClassification.model_validate(settings["task"]),
            settings["seeds"][0],
            settings["rounds"],
            training["steps"],
            training["batch_size"],
            training["rate"],
        )

    def of_seed(self, seed: int) -> Federation:
        """The same task with another split, first adapter and order of rows."""
        return replace(self, seed=seed)

    @cached_property
    def split(self) -> Split:
        """Who holds which rows."""
        return self.task.split(Key.of(self.seed).fold("split"))

    @property
    def clients(self) -> tuple[int, ...]:
        """All clients; each takes part in each round."""
        return self.split.clients

    @property
    def client_steps(self) -> int:
        """Optimiser steps of all clients in all rounds."""
        return len(self.clients) * self.steps * self.rounds

    def samples(self, client: int) -> int:
        """The weight of a client in the mean: its training rows."""
        return len(self.split.train[client])

    def rows(self, round_: int, client: int) -> tuple[np.ndarray, ...]:
        """The rows of each of a client's steps in a round, counted from 1."""
        key = Key.of(self.seed).fold("batches", round_, client)
        return batches(self.split.train[client], self.steps, self.batch_size, key)

    @cached_property
    def test(self) -> np.ndarray:
        """The rows that the model is evaluated on after each round."""
        return np.concatenate([self.split.test[client] for client in self.clients])

    def model(self) -> PeftModel:
        """The pretrained model of transformers under peft's adapter, in evaluation mode: nothing is dropped out."""
        model: PeftModel = self.task.model(Key.of(self.seed).fold("adapter"))
        return model
