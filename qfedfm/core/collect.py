"""The updates of one round as they arrive: added up and forgotten where a sum is all that is needed, else kept."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import final

import numpy as np
from jaxtyping import Float32

from qfedfm.core.cohort import ClientId, Cohort, Reduced, State, all_finite, client_weights
from qfedfm.core.errors import DataError
from qfedfm.core.held import Held
from qfedfm.core.layout import Layout
from qfedfm.core.parts import ServerAt, SumReduce
from qfedfm.core.sums import block_rows

Finish = Callable[[Cohort, State, ServerAt], tuple[Reduced, State]]


class Collector(abc.ABC):
    """Takes the updates of a round one by one, in ascending order of the client ids; made by `Bound.collect`.

    Args:
        layout: of the updates.
        rows: updates that there is room for at first.
        held: what each client holds; None where all hold all.
    """

    def __init__(self, layout: Layout, rows: int, held: Held | None = None) -> None:
        self._layout, self._held = layout, held
        self._rows = np.empty((max(rows, 1), layout.size), np.float32)
        self._clients: list[ClientId] = []
        self._weights: list[float] = []

    @property
    def count(self) -> int:
        """Updates so far."""
        return len(self._clients)

    def add(self, client: ClientId, vector: Float32[np.ndarray, " d"], weight: float) -> None:
        """Takes one update; the vector is copied and may be reused.

        Raises:
            DataError: a client twice or out of order, a vector of another length, not finite, or not zero where the
                client holds nothing, or a weight that is not positive and finite.
        """
        if self._clients and client <= self._clients[-1]:
            given = f"client {client} after client {self._clients[-1]}"
            raise DataError(given, "each client once, in ascending order of the ids")
        if vector.shape != (self._layout.size,):
            raise DataError(f"an update of shape {vector.shape} by client {client}", f"({self._layout.size},)")
        if not (weight > 0 and np.isfinite(weight)):
            raise DataError(f"weight {weight} of client {client}", "a positive sample count")
        if not all_finite(vector[None]):
            given = f"an update of client {client} with NaN or infinite values"
            raise DataError(given, "finite numbers only", "leave that client out")
        if self._held is not None:
            self._held.check(client, vector)
        row = self._free()
        self._rows[row] = vector
        self._clients.append(client)
        self._weights.append(float(weight))

    @abc.abstractmethod
    def _free(self) -> int:
        """The row that the next update goes to."""

    @abc.abstractmethod
    def finish(self, state: State, at: ServerAt) -> tuple[Reduced, State]:
        """What the aggregator makes of the updates, and the next state of its reduce.

        Raises:
            DataError: there is no update.
            StackError: there are too few for a part.
        """


@final
class MatrixCollector(Collector):
    """Keeps all updates in one n × d matrix, which becomes the cohort without a copy.

    Args:
        layout: of the updates.
        rows: updates that there is room for; when more come, the matrix is copied to one of twice the size.
        reduce: what is done with the cohort in the end.
        held: what each client holds; None where all hold all.
    """

    def __init__(self, layout: Layout, rows: int, reduce: Finish, held: Held | None = None) -> None:
        super().__init__(layout, rows, held)
        self._reduce = reduce

    def _free(self) -> int:
        if self.count == len(self._rows):
            grown = np.empty((2 * self.count, self._layout.size), np.float32)
            grown[: self.count] = self._rows
            self._rows = grown
        return self.count

    def finish(self, state: State, at: ServerAt) -> tuple[Reduced, State]:
        X, weights, clients = self._rows[: self.count], np.array(self._weights), tuple(self._clients)
        cohort = Cohort(X, weights, clients, self._layout, held=self._held)
        return self._reduce(cohort, state, at)


@final
class SumCollector(Collector):
    """Keeps the sum of the updates and the last few of them: memory for d numbers, however many clients there are.

    Args:
        layout: of the updates.
        reduce: the sum.
        held: what each client holds; None where all hold all.
    """

    def __init__(self, layout: Layout, reduce: SumReduce, held: Held | None = None) -> None:
        super().__init__(layout, block_rows(layout.size), held)
        self._reduce = reduce
        self._accumulator = reduce.accumulator(layout.size)
        self._added = 0

    def _free(self) -> int:
        if self.count - self._added == len(self._rows):
            self._flush()
        return self.count - self._added

    def _flush(self) -> None:
        weights = np.array(self._weights[self._added :])
        self._accumulator.add(self._rows[: len(weights)], weights)
        self._added = self.count

    def finish(self, state: State, at: ServerAt) -> tuple[Reduced, State]:
        if not self.count:
            raise DataError("no updates", "at least one")
        if self._added < self.count:
            self._flush()
        weights = np.array(self._weights)
        reduced = self._reduce.result(self._accumulator.finish(), self._clients, weights, self._held)
        return client_weights(reduced, None, tuple(self._clients)), state
