"""The kinds of parts that an aggregator is made of, and what each half sees.

```
client   delta ──vector layers──► vector ──codec──► bytes ──seals──► wire
server   wire ──seals──► codec ──► vector layers in reverse ──► Cohort ──cohort layers──► Cohort ──Reduce──► Reduced
```

Every part is a frozen dataclass: configuration in the fields, functions without side effects, state in and out.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64

from qfedfm.core.cohort import EMPTY, ClientId, Cohort, Reduced, State
from qfedfm.core.distortion import Distortion
from qfedfm.core.held import Held
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.sums import block_rows

Vector = np.ndarray


@dataclass(frozen=True)
class Objective:
    """The loss on the server's validation data at ``model + delta``, for a delta of length d.

    Args:
        gradient: gives loss and gradient.
        loss: gives the same loss alone, for less.
        rows: how many validation rows the loss is the mean over; None where nobody says.
    """

    gradient: Callable[[Vector], tuple[float, Vector]]
    loss: Callable[[Vector], float]
    rows: int | None = None


class Law(enum.Enum):
    """A property that a part keeps; `tests/laws` checks each part against those that it declares."""

    PERMUTATION = "the order of the clients changes nothing"
    IDENTITY = "one client's update comes out as it went in"
    SCALING = "scaling every update scales the result"
    TRANSLATION = "adding a constant to every update adds it to the result"
    CONVEX = "the result lies in the convex hull of the updates, with the row weights that it reports"
    SAME_KEY = "the same key gives the same bytes"
    ROUND_TRIP = "decoding gives back what was encoded within the stated distortion"
    ADDITIVE = "the sum of what several send decodes to the sum of what each decodes to"
    REFUSES = "input that is not finite or has another length raises our error"
    SUMMED = "what opens is the weighted sum of those that sent, to the last bit, whoever falls silent"
    FRESH = "equal inputs never travel as equal bytes"
    TAMPERED = "a sealed body with any byte altered, cut off or added is refused"
    ELSEWHERE = "a sealed body is refused under another identity, with another key, and when it comes again"


@dataclass(frozen=True)
class At:
    """Where a client half is: everything that it may depend on besides the update itself.

    ``model`` is what the client started from, on both sides; None where nobody says. Only a codec that `needs_model`
    reads it.
    """

    epoch: int
    round: int
    client: ClientId
    key: Key
    layout: Layout
    samples: int
    model: Float32[np.ndarray, " d"] | None = None


@dataclass(frozen=True)
class ServerAt:
    """Where the server half is. ``objective`` is None when the server holds no validation data."""

    round: int
    key: Key
    layout: Layout
    model: Float32[np.ndarray, " d"]
    objective: Objective | None = None


class Part(abc.ABC):  # noqa: B024
    """Anything that can be registered, configured, listed and checked against laws."""

    kind: ClassVar[str] = "part"
    name: ClassVar[str] = ""
    laws: ClassVar[frozenset[Law]] = frozenset()
    exempt: ClassVar[Mapping[Law, str]] = {}
    """Laws of the kind that this part does not keep, each with its reason (shown by ``qfedfm methods``)."""


class VectorLayer(Part):
    """Vector to vector, on the client (`encode`) and back on the server (`decode`)."""

    kind = "vector layer"
    laws = frozenset({Law.SAME_KEY, Law.ROUND_TRIP, Law.REFUSES})
    one_sided: ClassVar[bool] = False
    """Whether `decode` leaves what an honest `encode` gave as it is, so that sums of vectors need no decoding."""

    @abc.abstractmethod
    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> Float32[np.ndarray, " d"]:
        """The client half."""

    def decode(self, y: Float32[np.ndarray, " d"], at: At) -> Float32[np.ndarray, " d"]:
        """The server half; the identity unless the layer has something to undo."""
        return y


class Codec(Part):
    """Vector to bytes and back; exactly one in a stack."""

    kind = "codec"
    laws = frozenset({Law.SAME_KEY, Law.ROUND_TRIP, Law.REFUSES})
    feeds_back: ClassVar[bool] = False
    """Whether it sends later what it left out before."""
    needs_model: ClassVar[bool] = False
    """Whether it encodes ``at.model`` plus the update; then it stands in no other codec and not on the way down."""

    @abc.abstractmethod
    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        """The body of the payload. Refuses values that are not finite with `PayloadError`."""

    @abc.abstractmethod
    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        """The vector; every claim of the body is checked before memory is allocated for it."""

    @abc.abstractmethod
    def largest(self, layout: Layout) -> int:
        """The most bytes that a valid body of this layout can have."""

    @abc.abstractmethod
    def distortion(self, layout: Layout) -> Distortion:
        """How far decode(encode(x)) may be from x."""

    def memory(self, layout: Layout) -> State:
        """What a sender remembers, before its first message."""
        return EMPTY

    def mirror(self, layout: Layout) -> State:
        """What the receiver remembers of each sender, before its first message."""
        return EMPTY

    def send(self, x: Float32[np.ndarray, " d"], memory: State, at: At) -> tuple[bytes, State]:
        """`encode` with the sender's memory, and that after the message has been accepted."""
        return self.encode(x, at), memory

    def receive(self, body: bytes | memoryview, mirror: State, at: At) -> tuple[Float32[np.ndarray, " d"], State]:
        """`decode` with what is remembered of this sender, and that after the message."""
        return self.decode(body, at), mirror


class MemoryCodec(Codec):
    """A codec whose sender, or whose receiver, remembers earlier messages; `encode` and `decode` are the first one."""

    @abc.abstractmethod
    def send(self, x: Float32[np.ndarray, " d"], memory: State, at: At) -> tuple[bytes, State]:
        """The body, and the memory after it has been accepted; a message that gets lost leaves the memory as it was."""

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        return self.send(x, self.memory(at.layout), at)[0]

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        return self.receive(body, self.mirror(at.layout), at)[0]

    @abc.abstractmethod
    def receive(self, body: bytes | memoryview, mirror: State, at: At) -> tuple[Float32[np.ndarray, " d"], State]:
        """The vector, and what is remembered of the sender from now on."""


class CohortLayer(Part):
    """Cohort to cohort before the reduce (`lift`), and the result back after it (`lower`)."""

    kind = "cohort layer"
    laws = frozenset({Law.PERMUTATION, Law.IDENTITY, Law.SCALING})
    merges: ClassVar[bool] = False
    """Whether a row may stop being one client's own, so that a reduce that judges single clients is refused."""

    @abc.abstractmethod
    def lift(self, cohort: Cohort, at: ServerAt) -> Cohort:
        """The cohort that the next layer or the reduce sees, ``mixing`` kept up to date."""

    def rows(self, n: int) -> int:
        """The number of rows that `lift` makes of ``n``."""
        return n

    def minimum_rows(self) -> int:
        """The fewest clients that the layer works with."""
        return 1


class Reduce(Part):
    """A cohort to one vector. Quantum or classical: the same interface, the same tests."""

    kind = "reduce"
    laws = frozenset({Law.PERMUTATION, Law.IDENTITY, Law.SCALING})
    needs_objective: ClassVar[bool] = False
    """Whether `reduce` reads ``at.objective`` (validation data that other arms do not see; the report says so)."""
    per_client: ClassVar[bool] = False
    """Whether the state belongs to client ids, so that rows must be single clients."""
    per_holder: ClassVar[bool] = False
    """Whether it reduces each coordinate over the clients that hold it, so that rows may have holes."""
    is_sum: ClassVar[bool] = False
    """Whether updates can be added up as they arrive: a `SumReduce`."""

    @property
    def personal(self) -> bool:
        """Whether it gives clusters of clients models of their own, so that rows must be single clients."""
        return False

    def init(self, layout: Layout, population: tuple[ClientId, ...]) -> State:
        """The state before the first round."""
        return EMPTY

    def minimum_rows(self) -> int:
        """The fewest updates that the reduce is defined for."""
        return 1

    @abc.abstractmethod
    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        """The aggregated delta and the next state."""


@runtime_checkable
class Accumulator(Protocol):
    """Takes the updates of a round block by block and gives the aggregated delta."""

    def add(self, rows: Float32[np.ndarray, "m d"], weights: Float[np.ndarray, " m"]) -> None:
        """Takes one block, whose rows may be reused afterwards."""

    def finish(self) -> Float32[np.ndarray, " d"]:
        """The aggregated delta of all blocks."""


class SumReduce(Reduce):
    """A reduce that needs no more than a sum over the updates, so that none has to be kept.

    The updates come in ascending order of the client ids in blocks of `block_rows`, whether they arrive one by one or
    as a cohort: the same arithmetic, the same bits.
    """

    is_sum = True

    @abc.abstractmethod
    def accumulator(self, d: int) -> Accumulator:
        """What takes the updates of a round, of length d."""

    def row_weights(self, weights: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"] | None:
        """The weight that each update has in the result, where it is a weighted sum of them."""
        return None

    def result(
        self,
        vector: Float32[np.ndarray, " d"],
        clients: Sequence[ClientId],
        weights: Float64[np.ndarray, " n"],
        held: Held | None,
    ) -> Reduced:
        """What comes out, given what the accumulator gave, whose updates those were, and what each client holds."""
        return Reduced(vector, self.row_weights(weights))

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        order = np.argsort(cohort.clients)
        in_order, d = bool((order[1:] > order[:-1]).all()), cohort.layout.size
        weights = cohort.weights.astype(np.float64)
        accumulator = self.accumulator(d)
        for start in range(0, cohort.n, block_rows(d)):
            block = slice(start, start + block_rows(d))
            accumulator.add(cohort.X[block if in_order else order[block]], weights[order[block]])
        return self.result(accumulator.finish(), cohort.clients, weights, cohort.held), state


class ServerOptimizer(Part):
    """Applies the reduced delta to the model: the delta plays the part of a negative gradient."""

    kind = "server optimiser"

    def init(self, layout: Layout) -> State:
        """The state before the first round."""
        return EMPTY

    @abc.abstractmethod
    def step(
        self, model: Float32[np.ndarray, " d"], delta: Float32[np.ndarray, " d"], state: State
    ) -> tuple[Float32[np.ndarray, " d"], State]:
        """The next model and the next state."""
