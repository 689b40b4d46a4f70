"""A task whose model can be cut in two, for learning in which nobody holds the whole of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from qfedfm.tasks.protocol import Task


@dataclass(frozen=True)
class Halves:
    """A model as deep(shallow(inputs)).

    The modules share their parameters with the model; each trainable parameter is in one of them. Both are functions of
    a row: what else is in the batch changes nothing.

    Args:
        shallow: the model's keyword arguments in, features [rows, *shape] out.
        deep: features in, the outputs of `Task.forward` out.
        shape: of the features of one row.
    """

    shallow: torch.nn.Module
    deep: torch.nn.Module
    shape: tuple[int, ...]


@runtime_checkable
class Splittable(Task, Protocol):
    """A task that also says where its model can be cut."""

    @property
    def cuts(self) -> int:
        """In how many places; they are numbered from 0, the one nearest to the data."""

    def halves(self, model: torch.nn.Module, cut: int) -> Halves:
        """The two parts of a model that `model` made.

        Raises:
            ConfigError: there is no such cut.
        """
