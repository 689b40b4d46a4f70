"""Small parts with closed forms, to test how parts are put together."""

from dataclasses import dataclass, replace

import numpy as np

from qfedfm.core.cohort import Cohort, Reduced
from qfedfm.core.distortion import Contractive, Unbiased
from qfedfm.core.errors import PayloadError
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec, CohortLayer, Reduce, ServerAt, VectorLayer

LAYOUT = Layout.of({"a": (2,), "b": (3,)})


def at(client: int = 2, samples: int = 10, round: int = 1, epoch: int = 0) -> At:  # noqa: A002
    return At(epoch, round, client, Key.of(0).fold(round, client), LAYOUT, samples)


def server_at(objective=None) -> ServerAt:
    return ServerAt(1, Key.of(0), LAYOUT, np.zeros(LAYOUT.size, np.float32), objective)


def cohort(rows: int, seed: int = 0) -> Cohort:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, LAYOUT.size)).astype(np.float32)
    return Cohort(X, rng.uniform(1, 5, rows), tuple(range(10, 10 + rows)), LAYOUT)


@dataclass(frozen=True)
class Times(VectorLayer):
    factor: float = 2.0
    name = "times"

    def encode(self, x, at):
        return (x * np.float32(self.factor)).astype(np.float32)

    def decode(self, y, at):
        return (y / np.float32(self.factor)).astype(np.float32)


@dataclass(frozen=True)
class Plus(VectorLayer):
    name = "plus"

    def encode(self, x, at):
        return x + np.float32(1)

    def decode(self, y, at):
        return y - np.float32(1)


@dataclass(frozen=True)
class Shorten(VectorLayer):
    """A layer whose server half is broken."""

    name = "shorten"

    def encode(self, x, at):
        return x

    def decode(self, y, at):
        return y[:-1]


@dataclass(frozen=True)
class Halves(Codec):
    """Half precision, with a length in front that decoding checks."""

    name = "halves"

    def encode(self, x, at):
        return bytes([x.size]) + x.astype("<f2").tobytes()

    def decode(self, body, at):
        if len(body) != 1 + 2 * at.layout.size or body[0] != at.layout.size:
            raise PayloadError("a body of halves", "another length")
        return np.frombuffer(body, "<f2", offset=1).astype(np.float32)

    def largest(self, layout):
        return 1 + 2 * layout.size

    def distortion(self, layout):
        return Contractive(1 - 2.0**-20)


@dataclass(frozen=True)
class Trusting(Codec):
    """A codec that believes what arrives."""

    name = "trusting"

    def encode(self, x, at):
        return x.tobytes()

    def decode(self, body, at):
        return np.frombuffer(body, "<f4").astype(np.float32)

    def largest(self, layout):
        return 8 * layout.size

    def distortion(self, layout):
        return Unbiased(0.0)


@dataclass(frozen=True)
class Pairs(CohortLayer):
    """Means of neighbours; an odd row stays alone."""

    merges = True
    name = "pairs"
    least: int = 1

    def lift(self, cohort, at):
        rows = [list(range(i, min(i + 2, cohort.n))) for i in range(0, cohort.n, 2)]
        M = np.zeros((len(rows), cohort.n))
        for row, columns in enumerate(rows):
            M[row, columns] = 1 / len(columns)
        mixing = M if cohort.mixing is None else M @ cohort.mixing
        X = np.ascontiguousarray(M @ cohort.X, np.float32)
        clients = tuple(cohort.clients[columns[0]] for columns in rows)
        return Cohort(X, np.ones(len(rows)), clients, cohort.layout, mixing, cohort.members)

    def rows(self, n):
        return (n + 1) // 2

    def minimum_rows(self):
        return self.least


@dataclass(frozen=True)
class Reorder(CohortLayer):
    """Rows backwards, nothing merged."""

    name = "reorder"

    def lift(self, cohort, at):
        return replace(
            cohort,
            X=cohort.X[::-1].copy(),
            weights=cohort.weights[::-1].copy(),
            clients=cohort.clients[::-1],
            members=(),
        )


@dataclass(frozen=True)
class Collapse(CohortLayer):
    """One row, however many clients."""

    merges = True
    name = "collapse"

    def lift(self, cohort, at):
        X = cohort.X.mean(axis=0, keepdims=True)
        mixing = np.full((1, cohort.n), 1 / cohort.n)
        return Cohort(X, np.ones(1), cohort.clients[:1], cohort.layout, mixing, cohort.members)

    def rows(self, n):
        return 1


@dataclass(frozen=True)
class Average(Reduce):
    name = "average"
    least: int = 1

    def minimum_rows(self):
        return self.least

    def reduce(self, cohort, state, at):
        weights = np.full(cohort.n, 1 / cohort.n)
        count = state.get("rounds", np.zeros(()))
        return Reduced((weights @ cohort.X).astype(np.float32), weights), {"rounds": np.asarray(count + 1)}


@dataclass(frozen=True)
class PerClient(Average):
    per_client = True
    name = "per-client"


@dataclass(frozen=True)
class Judge(Average):
    needs_objective = True
    name = "judge"


@dataclass(frozen=True)
class Blind(Average):
    """Tells no weights."""

    name = "blind"

    def reduce(self, cohort, state, at):
        return replace(super().reduce(cohort, state, at)[0], row_weights=None), state
