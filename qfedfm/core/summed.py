"""The kind of parts under which the server learns the sum of the clients' whole numbers and no single client's."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from qfedfm.core.additive import AdditiveCodec
from qfedfm.core.cohort import ClientId
from qfedfm.core.errors import StackError
from qfedfm.core.parts import Codec, CohortLayer, Law, MemoryCodec, Part, Reduce, SumReduce, VectorLayer


@dataclass(frozen=True)
class Opened:
    """What the server learns.

    Args:
        total: Σₖ wₖ qₖ over the survivors.
        weight: Σₖ wₖ.
        survivors: whose inputs are in it, ascending.
    """

    total: Int64[np.ndarray, " d"]
    weight: int
    survivors: tuple[ClientId, ...]


@dataclass(frozen=True)
class Summands:
    """What a round adds up, as all parties know it beforehand.

    Args:
        run: name of the run.
        epoch: how often it was resumed.
        round: of the run.
        clients: those invited, ascending.
        layout: `Layout.digest` of what the numbers are.
        stack: `Stack.digest` of what made them.
        length: d, whole numbers of one client.
        bound: of their magnitude.
        max_weight: the largest weight of a client.
    """

    run: str
    epoch: int
    round: int
    clients: tuple[ClientId, ...]
    layout: bytes
    stack: bytes
    length: int
    bound: int
    max_weight: int


@runtime_checkable
class Carrier(Protocol):
    """Takes the messages of a round from one party to another; gives what arrives, or raises one of our errors."""

    def up(self, client: ClientId, message: bytes) -> bytes:
        """From a client to the server."""

    def down(self, client: ClientId, message: bytes) -> bytes:
        """From the server to a client."""


class Direct:
    """Hands messages over as they are."""

    def up(self, client: ClientId, message: bytes) -> bytes:
        """The message."""
        return message

    def down(self, client: ClientId, message: bytes) -> bytes:
        """The message."""
        return message


@runtime_checkable
class Summing(Protocol):
    """A round under way, with all its parties: `setup`, `take` for each client that sends, `open`."""

    @property
    def refused(self) -> Mapping[ClientId, str]:
        """Why clients were left out so far."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """Time spent so far, by step; what the server does alone is under ``server``, ``add`` and ``open``."""

    def setup(self) -> None:
        """What clients and server say before there is an input.

        Raises:
            RoundError: too few clients are left.
        """

    def take(self, client: ClientId, q: Int64[np.ndarray, " d"], weight: int) -> bool:
        """One client's input, which is not kept; whether it is in the sum."""

    def open(self) -> Opened:
        """The sum, once all have sent what they will; whoever has not is a dropout.

        Raises:
            RoundError: too few clients are left; nothing is opened.
        """


PairKeys = Mapping[ClientId, Mapping[ClientId, bytes]]
"""By client, a key for each other one that it has a link to."""


@runtime_checkable
class Parties(Protocol):
    """All parties of one run, from round to round."""

    def begin(self, summands: Summands, keys: PairKeys, carrier: Carrier, silent: Sequence[ClientId]) -> Summing:
        """A round.

        Args:
            summands: of the round.
            keys: of links between clients, for this round only.
            carrier: of the messages.
            silent: clients that say nothing at all.

        Raises:
            ConfigError: the round was played before.
        """


class SummedLayer(Part):
    """Whole numbers to their weighted sum: each client's input is hidden, and only Σₖ wₖ qₖ and Σₖ wₖ open.

    It stands after an additive codec and takes the place of single payloads: in every round clients and server exchange
    several messages. Secrets are in the parties, which are in nothing that is saved or shown.
    """

    kind = "summed layer"
    laws = frozenset({Law.SUMMED, Law.FRESH, Law.REFUSES})
    messages: ClassVar[int]
    """The most messages of a round between a client and the server, in either direction."""

    @property
    @abc.abstractmethod
    def linked(self) -> bool:
        """Whether clients need keys of links between them."""

    @abc.abstractmethod
    def check(self, clients: int, bound: int, max_weight: int) -> None:
        """Refuses rounds of a size that it cannot hide or add up.

        Args:
            clients: n, those that a round invites.
            bound: of the magnitude of a client's whole numbers.
            max_weight: the largest weight of a client.

        Raises:
            ConfigError: too few clients for what is assumed of them.
            StackError: sums could overflow, or nothing would be hidden from the server.
        """

    @abc.abstractmethod
    def parties(self, population: Sequence[ClientId]) -> Parties:
        """The parties of one run, with fresh secrets."""


def check_summed(
    summed: SummedLayer,
    vector_layers: Sequence[VectorLayer],
    codec: Codec,
    cohort_layers: Sequence[CohortLayer],
    reduce: Reduce,
) -> None:
    """Refuses what cannot stand beside a summed layer, because it needs more than a sum.

    Raises:
        StackError: a codec that is not additive or remembers messages, a layer that is undone client by client, a
            cohort layer, or a reduce that needs single updates.
    """
    name = f"summed layer {summed.name!r}"
    if not isinstance(codec, AdditiveCodec) or isinstance(codec, MemoryCodec) or codec.feeds_back or codec.needs_model:
        given = f"codec {codec.name!r} under {name}: no sum of its messages can be decoded"
        raise StackError(given, "an additive codec without memory", "use fixed-point")
    for layer in vector_layers:
        if not layer.one_sided:
            given = f"vector layer {layer.name!r} under {name}: it is undone client by client"
            raise StackError(given, "layers with nothing to undo, such as clip", "remove it")
    if cohort_layers:
        given = f"cohort layer {cohort_layers[0].name!r} above {name}: the server has no single updates"
        raise StackError(given, "no cohort layer", "remove one of the two")
    if not isinstance(reduce, SumReduce) or reduce.personal or reduce.per_client:
        given = f"reduce {reduce.name!r} above {name}: the server has the sum and no single updates"
        raise StackError(given, "a sum", "reduce by the mean; what judges single updates cannot see any under masks")
