"""`stack` composes layers, one codec and a reduce into an aggregator, and refuses what cannot work."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from qfedfm.core import wire
from qfedfm.core.additive import AdditiveCodec
from qfedfm.core.cohort import ClientId, Cohort, Reduced, State, client_weights
from qfedfm.core.collect import Collector, MatrixCollector, SumCollector
from qfedfm.core.errors import PayloadError, StackError
from qfedfm.core.float32 import Float32Codec, require_finite
from qfedfm.core.held import Held, Holding
from qfedfm.core.keyring import Keyring
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec, CohortLayer, Part, Reduce, ServerAt, SumReduce, VectorLayer
from qfedfm.core.registry import describe
from qfedfm.core.seals import Seal, added, open_body, seal_body
from qfedfm.core.summed import SummedLayer, check_summed

_ORDER = {"vector layer": 0, "codec": 1, "summed layer": 2, "seal": 3, "cohort layer": 4}
_MOST_CLIENTS = 2**16


@dataclass(frozen=True)
class Stack:
    """An aggregator: what the user picks, sweeps and compares. Made by `stack`, which checks that the parts fit."""

    vector_layers: tuple[VectorLayer, ...]
    codec: Codec
    cohort_layers: tuple[CohortLayer, ...]
    reduce: Reduce
    seals: tuple[Seal, ...] = ()
    summed: SummedLayer | None = None

    @property
    def _client_halves(self) -> tuple[Part, ...]:
        summed = () if self.summed is None else (self.summed,)
        return (*self.vector_layers, self.codec, *summed, *self.seals)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts in the order of an update's path."""
        return (*self._client_halves, *self.cohort_layers, self.reduce)

    @property
    def messages(self) -> int:
        """The most messages between a client and the server in a round, in either direction."""
        return 1 if self.summed is None else self.summed.messages

    @property
    def digest(self) -> bytes:
        """Eight bytes that stand for the client halves and their configuration; part of every payload's header."""
        text = json.dumps([describe(part) for part in self._client_halves], sort_keys=True)
        return hashlib.sha256(text.encode()).digest()[:8]


def stack(*layers: VectorLayer | Codec | SummedLayer | Seal | CohortLayer, reduce: Reduce) -> Stack:
    """Composes an aggregator from layers, in the order of an update's path, and a reduce.

    Raises:
        StackError: something that is no layer or no reduce, layers out of order, two codecs or summed layers, a seal
            twice, merged rows under a reduce that judges single clients, or a summed layer beside something that needs
            more than a sum (`check_summed`).

    Example:
        >>> from qfedfm.reduces.mean import Mean
        >>> stack(reduce=Mean()).codec.name
        'float32'
    """
    for layer in layers:
        if layer.kind not in _ORDER:
            raise StackError(f"{layer.kind} {layer.name!r} among the layers", f"one of {', '.join(_ORDER)}")
    if reduce.kind != "reduce":
        raise StackError(f"{reduce.kind} {reduce.name!r} as the reduce", "a reduce")
    for before, after in itertools.pairwise(layers):
        if before.kind == after.kind and before.kind in ("codec", "summed layer"):
            raise StackError(f"two {before.kind}s, {before.name!r} and {after.name!r}", "one", "remove one of them")
        if _ORDER[before.kind] > _ORDER[after.kind]:
            given = f"{after.kind} {after.name!r} after {before.kind} {before.name!r}"
            raise StackError(given, f"the order {', '.join(f'{kind}s' for kind in _ORDER)}", "reorder the layers")
    codecs = [layer for layer in layers if isinstance(layer, Codec)]
    seals = tuple(layer for layer in layers if isinstance(layer, Seal))
    if len({seal.name for seal in seals}) < len(seals):
        raise StackError(
            f"seals {[seal.name for seal in seals]}", "each once, since it has one key", "remove one of them"
        )
    cohort_layers = tuple(layer for layer in layers if isinstance(layer, CohortLayer))
    merging = [layer.name for layer in cohort_layers if layer.merges]
    if merging and (reduce.per_client or reduce.personal):
        given = f"reduce {reduce.name!r} above {merging[0]!r}, which merges the rows of several clients"
        raise StackError(given, "rows that are single clients", "remove the layer or choose another reduce")
    vector_layers = tuple(layer for layer in layers if isinstance(layer, VectorLayer))
    codec = codecs[0] if codecs else Float32Codec()
    summed = next((layer for layer in layers if isinstance(layer, SummedLayer)), None)
    if summed is not None:
        check_summed(summed, vector_layers, codec, cohort_layers, reduce)
    return Stack(vector_layers, codec, cohort_layers, reduce, seals, summed)


@dataclass(frozen=True)
class Bound:
    """A stack bound to a layout and a population: the client half and the server half of a round.

    Where clients hold different ranks, vector layers and the codec see what the client holds, in a layout of its own.
    """

    stack: Stack
    layout: Layout
    population: tuple[ClientId, ...]
    held: Held | None = None

    def holding(self, client: ClientId) -> Holding:
        """What a client holds."""
        return Holding(self.layout) if self.held is None else self.held.of(client)

    def memory(self, client: ClientId) -> State:
        """What the codec on a client remembers before its first message."""
        return self.stack.codec.memory(self.holding(client).layout)

    def mirror(self, client: ClientId) -> State:
        """What the server remembers of a client before its first message."""
        return self.stack.codec.mirror(self.holding(client).layout)

    def _frame(self, at: At) -> wire.Frame:
        return wire.Frame(at.epoch, at.round, at.client, at.layout.digest, self.stack.digest, wire.UP, at.samples)

    def encode(self, delta: Float32[np.ndarray, " d"], at: At) -> bytes:
        """The client half of a first message; see `send`."""
        return self.send(delta, self.memory(at.client), at)[0]

    def send(
        self, delta: Float32[np.ndarray, " d"], memory: State, at: At, keys: Keyring | None = None
    ) -> tuple[bytes, State]:
        """The client half: a delta to the payload that travels, and the codec's memory once it is accepted.

        Args:
            delta: the update.
            memory: of the codec on the client.
            at: where this is.
            keys: of the client towards the server, where the stack has seals.

        Raises:
            PayloadError: the delta is not finite or has the wrong length.
            KeyShortageError: a seal finds no key.
            StackError: there are seals and no keys, or a summed layer, under which no update travels by itself.
        """
        if self.stack.summed is not None:
            raise StackError(f"one update under {self.stack.summed.name!r}", "the sum of a round", "use an experiment")
        require_finite(delta, self.layout)
        holding = self.holding(at.client)
        delta, at = holding.narrow(delta), replace(at, layout=holding.layout)
        for layer in self.stack.vector_layers:
            delta = layer.encode(delta, at)
        body, memory = self.stack.codec.send(delta, memory, at)
        header = self._frame(at)
        return wire.frame(seal_body(self.stack.seals, body, header, keys), header), memory

    def decode(self, payload: bytes, at: At) -> Float32[np.ndarray, " d"]:
        """The server half for a client's first message; see `receive`."""
        return self.receive(payload, self.mirror(at.client), at)[0]

    def receive(
        self, payload: bytes, mirror: State, at: At, keys: Keyring | None = None
    ) -> tuple[Float32[np.ndarray, " d"], State]:
        """The server half for one client: a payload to the delta that the cohort holds, and the codec's next mirror.

        Args:
            payload: what arrived.
            mirror: what the server remembers of the client.
            at: where this is.
            keys: of the server towards that client, where the stack has seals.

        Raises:
            PayloadError: the payload is damaged, addressed elsewhere, claims another sample count than the client
                registered, or decodes to something that is not finite.
        """
        holding = self.holding(at.client)
        at = replace(at, layout=holding.layout)
        header, largest = self._frame(at), self.stack.codec.largest(at.layout) + added(self.stack.seals)
        body, samples = wire.unframe(payload, header, largest)
        if samples != at.samples:
            raise PayloadError(f"a payload that claims {samples} samples", f"{at.samples}, as registered")
        opened = open_body(self.stack.seals, body, header, keys)
        vector, mirror = self.stack.codec.receive(memoryview(opened), mirror, at)
        for layer in reversed(self.stack.vector_layers):
            vector = layer.decode(vector, at)
        require_finite(vector, at.layout)
        return holding.widen(vector), mirror

    def init(self) -> State:
        """The state of the reduce before the first round."""
        return self.stack.reduce.init(self.layout, self.population)

    def minimum_clients(self) -> int:
        """The fewest updates with which a round can be aggregated.

        Raises:
            StackError: no number of updates is enough, because a cohort layer makes too few rows of any.
        """
        for n in range(1, _MOST_CLIENTS):
            if self._enough(n):
                return n
        given = f"reduce {self.stack.reduce.name!r}, which needs {self.stack.reduce.minimum_rows()} rows"
        raise StackError(given, "cohort layers that can give as many", "remove a cohort layer or choose another reduce")

    def _enough(self, n: int) -> bool:
        for layer in self.stack.cohort_layers:
            if n < layer.minimum_rows():
                return False
            n = layer.rows(n)
        return n >= self.stack.reduce.minimum_rows()

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        """The server half for the round: cohort layers, then the reduce, then weights taken back to clients.

        Raises:
            StackError: the cohort says otherwise about what clients hold than the aggregator was bound to.
        """
        if cohort.held is not self.held:
            raise StackError("a cohort with another `held` than the aggregator's", "the one that it was bound to")
        for layer in self.stack.cohort_layers:
            cohort = layer.lift(cohort, at)
        reduced, state = self.stack.reduce.reduce(cohort, state, at)
        return client_weights(reduced, cohort.mixing, cohort.members), state

    def collect(self, largest: int) -> Collector:
        """The server half for updates that arrive one by one; the same bits as `reduce` of all of them at once.

        Args:
            largest: the number of updates that may come. More than that costs a copy of those before.

        Returns:
            A collector, which needs memory for d numbers where the reduce is a sum above no cohort layer, and for
            ``largest`` updates otherwise.
        """
        reduce = self.stack.reduce
        if isinstance(reduce, SumReduce) and not self.stack.cohort_layers:
            return SumCollector(self.layout, reduce, self.held)
        return MatrixCollector(self.layout, largest, self.reduce, self.held)


def bind(
    aggregator: Stack,
    layout: Layout,
    population: tuple[ClientId, ...],
    *,
    cohort: int,
    validation: int,
    held: Held | None = None,
    max_weight: int = 1,
) -> Bound:
    """Binds an aggregator to the size of an experiment.

    Args:
        aggregator: the stack.
        layout: of the adapter.
        population: all client ids that can ever take part.
        cohort: the number of updates that a full round brings.
        validation: rows of validation data that the server holds.
        held: what each client holds; None where all hold all.
        max_weight: the largest sample weight of a client, which a summed layer's modulus has to have room for.

    Raises:
        StackError: a client id that a header cannot hold or that occurs twice, a full round with too few updates for a
            part, a reduce that needs validation data where there is none, a part that compares or adds whole updates
            where clients hold different ranks, or a modulus that sums could overflow.
        ConfigError: too few clients for what a summed layer assumes of them.
    """
    if len(set(population)) != len(population) or not all(0 <= client < wire.EVERYONE for client in population):
        raise StackError(f"client ids {population}", f"different numbers from 0 to {wire.EVERYONE - 1}")
    if held is not None:
        _refuse_holes(aggregator)
    if aggregator.summed is not None and isinstance(aggregator.codec, AdditiveCodec):
        aggregator.summed.check(cohort, aggregator.codec.bound, max_weight)
    bound = Bound(aggregator, layout, population, held)
    needed = bound.minimum_clients()
    if cohort < needed:
        given = f"{cohort} clients a round for {' + '.join(part.name for part in aggregator.parts)}"
        raise StackError(given, f"at least {needed}", "sample more clients or assume fewer hostile ones")
    if aggregator.reduce.needs_objective and not validation:
        given = f"reduce {aggregator.reduce.name!r} without validation data on the server"
        raise StackError(given, "at least one validation row", "set task.validation")
    return bound


def _refuse_holes(aggregator: Stack) -> None:
    one_sum = [] if aggregator.summed is None else [aggregator.summed]
    parts = [*one_sum, *aggregator.cohort_layers, *([] if aggregator.reduce.per_holder else [aggregator.reduce])]
    if parts:
        given = f"{parts[0].kind} {parts[0].name!r} over clients that hold different ranks"
        raise StackError(given, "rows that all hold all coordinates", "leave capacities out, or reduce by the mean")
