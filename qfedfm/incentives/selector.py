"""The kind of part that decides whom a round invites, and what the server has seen for it."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Float64

from qfedfm.core.cohort import ClientId, Reduced, State
from qfedfm.core.key import Key
from qfedfm.core.parts import Law, Part
from qfedfm.core.sketch import CountSketch

SKETCH = 64
"""Numbers that stand for an update: the cosine of two of them is wrong by about 1/8 where the updates are unrelated."""


@dataclass(frozen=True)
class Invitation:
    """Whom a round invites.

    Args:
        clients: their ids, ascending.
        diagnostics: numbers for the history, which puts ``selector_`` before their names.
    """

    clients: tuple[ClientId, ...]
    diagnostics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """What the server has seen of a round.

    Args:
        invited: who was invited, ascending.
        sketches: of the updates that were counted, by client.
        aggregate: the sketch of the aggregated delta, or None where the round gave none.
        weights: what each update weighs in the aggregated delta, where the reduce says so.
    """

    invited: tuple[ClientId, ...]
    sketches: Mapping[ClientId, Float64[np.ndarray, " m"]]
    aggregate: Float64[np.ndarray, " m"] | None
    weights: Mapping[ClientId, float] = field(default_factory=dict)


class Selector(Part):
    """Decides whom a round invites, from what the server saw in earlier rounds and nothing of the clients' data."""

    kind = "selector"
    laws = frozenset({Law.SAME_KEY, Law.PERMUTATION})
    watches: ClassVar[bool] = False
    """Whether `learn` reads what the server sees of single updates, which then has to be sketched."""

    def check(self, population: int, size: int) -> None:
        """Refuses numbers of clients that the selector cannot choose from.

        Raises:
            ConfigError: ``size`` of ``population`` clients is more than it considers.
        """

    @abc.abstractmethod
    def select(
        self,
        population: tuple[ClientId, ...],
        size: int,
        state: State,
        round: int,  # noqa: A002
        key: Key,
    ) -> Invitation:
        """Chooses ``size`` of the population.

        Args:
            population: all client ids, ascending.
            size: how many are invited, at most all.
            state: by `learn`, or an empty one before the first round.
            round: the round's number, from 1.
            key: folded by purpose and round.
        """

    def learn(self, state: State, round: int, seen: Seen) -> State:  # noqa: A002
        """The state after a round."""
        return state


class Watcher:
    """Sketches the updates of one round as they arrive and keeps nothing else of them.

    Args:
        d: the length of an update.
        key: of the sketch, the same in all rounds of a run, so that updates of different rounds can be compared.
    """

    def __init__(self, d: int, key: Key) -> None:
        self._sketch = CountSketch(d, SKETCH, key)
        self._sketches: dict[ClientId, Float64[np.ndarray, " m"]] = {}

    def add(self, client: ClientId, update: Float32[np.ndarray, " d"]) -> None:
        """Takes one update, which may be reused afterwards."""
        self._sketches[client] = self._sketch(update[None])[0]

    def seen(self, invited: tuple[ClientId, ...], reduced: Reduced | None) -> Seen:
        """All of the round, once the updates are aggregated; None where they were too few or came to no numbers."""
        if reduced is None or not np.isfinite(reduced.vector).all():
            return Seen(invited, self._sketches, None)
        return Seen(invited, self._sketches, self._sketch(reduced.vector[None])[0], reduced.client_weights or {})
