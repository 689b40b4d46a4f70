"""From labelled rows to the pool that a task uses, and from the pool to clients and server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from qfedfm.core.errors import DataError
from qfedfm.core.key import Key
from qfedfm.tasks.partition import Partition
from qfedfm.tasks.protocol import Split


@dataclass(frozen=True)
class Limits:
    """How many rows are used.

    Args:
        train: of a client, for training: the most where the clients are the data's own sources, else the mean.
        test: of a client, for testing, likewise. A client with fewer rows than both divides them in their proportion.
        validation: on the server.
        tuning: on the server.
    """

    train: int
    test: int
    validation: int
    tuning: int

    @property
    def server(self) -> int:
        """Rows on the server."""
        return self.validation + self.tuning


def quotas(total: int, sizes: Float[np.ndarray, " k"] | Int64[np.ndarray, " k"]) -> Int64[np.ndarray, " k"]:
    """``total`` divided in proportion to ``sizes`` by largest remainders; ties go to the earlier.

    Example:
        >>> quotas(5, np.array([1, 1, 2])).tolist()
        [1, 1, 3]
    """
    exact = total * sizes / max(float(sizes.sum()), 1.0)
    floor = np.floor(exact).astype(np.int64)
    # rounded, so that remainders that are equal in theory are equal here
    rest = np.argsort(-np.round(exact - floor, 9), kind="stable")[: total - int(floor.sum())]
    floor[rest] += 1
    return floor


def draw(
    rows: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " n"], count: int, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " count"], Int64[np.ndarray, " rest"]]:
    """``count`` of the rows with every label in proportion, and the others; both ascending."""
    groups = [rng.permutation(rows[labels == label]) for label in np.unique(labels)]
    taken = quotas(count, np.array([len(group) for group in groups], np.int64))
    pairs = list(zip(groups, taken, strict=True))
    return _sorted([group[:number] for group, number in pairs]), _sorted([group[number:] for group, number in pairs])


def _sorted(parts: Sequence[np.ndarray]) -> Int64[np.ndarray, " n"]:
    return np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))


def _server_share(sizes: Int64[np.ndarray, " k"], limits: Limits, each: Int64[np.ndarray, " k"]) -> np.ndarray:
    """How many of its rows each group gives to the server: in proportion to what its clients can use."""
    return quotas(limits.server, np.minimum(sizes, each))


def _groups(partition: Partition, sources: Int64[np.ndarray, " n"], limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """The group of each row (its source, or one for all), and the client rows that each group should hold."""
    if partition.by_source:
        return sources, np.full(int(sources.max()) + 1, limits.train + limits.test)
    clients: int = getattr(partition, "clients", 1)
    return np.zeros_like(sources), np.array([clients * (limits.train + limits.test)])


def pool(
    labels: Int64[np.ndarray, " n"], sources: Int64[np.ndarray, " n"], partition: Partition, limits: Limits, key: Key
) -> Int64[np.ndarray, " m"]:
    """The rows that are used at all, ascending: from each source (or from the whole) as many as the limits ask for.

    Raises:
        DataError: the server would take all rows.
    """
    if limits.server >= len(labels):
        given = f"{limits.server} validation and tuning rows of {len(labels)} rows"
        raise DataError(given, "rows left for the clients", "lower validation and tuning, or bring more data")
    group, each = _groups(partition, sources, limits)
    sizes = np.bincount(group, minlength=len(each))
    wanted = np.minimum(sizes, each + _server_share(sizes, limits, each))
    taken = []
    for number, count in enumerate(wanted.tolist()):
        rows = np.flatnonzero(group == number)
        taken.append(draw(rows, labels[rows], count, key.fold("pool", number).numpy())[0])
    return _sorted(taken)


def divide(
    labels: Int64[np.ndarray, " n"],
    sources: Int64[np.ndarray, " n"],
    names: Sequence[str],
    partition: Partition,
    limits: Limits,
    key: Key,
) -> Split:
    """The pool divided: the server's rows first, then the clients', then each client's into train and test.

    Args:
        labels: of the pool's rows.
        sources: of the pool's rows; all 0 without any.
        names: of the sources; used where they are the clients.
        partition: who gets which of the clients' rows.
        limits: how many rows are where.
        key: of the run.

    Raises:
        DataError: a client has fewer rows than the partition's minimum.
    """
    group, each = _groups(partition, sources, limits)
    share = _server_share(np.bincount(group, minlength=len(each)), limits, each)
    validation, tuning, rest = [], [], []
    of_validation = _validation_part(share, limits)
    for number, count in enumerate(share.tolist()):
        rows = np.flatnonzero(group == number)
        rng = key.fold("server", number).numpy()
        server, left = draw(rows, labels[rows], count, rng)
        chosen, others = draw(server, labels[server], int(of_validation[number]), rng)
        validation.append(chosen)
        tuning.append(others)
        rest.append(left)
    held = _sorted(rest)
    owner = partition.owners(labels[held], sources[held], key.fold("partition"))
    clients = len(names) if partition.by_source else int(getattr(partition, "clients", 1))
    called = dict(enumerate(names if partition.by_source else [f"client {number}" for number in range(clients)]))
    train, test = {}, {}
    for client, name in called.items():
        rows = held[owner == client]
        if len(rows) < partition.minimum:
            given = f"client {name!r} with {len(rows)} rows, those of the server taken off"
            remedy = "bring more data, raise train_rows, or lower validation, tuning or partition.minimum"
            raise DataError(given, f"at least {partition.minimum}", remedy)
        test[client], train[client] = _halves(rows, labels, limits, key.fold("client", client))
    return Split(train, test, _sorted(validation), _sorted(tuning), called)


def _validation_part(share: Int64[np.ndarray, " k"], limits: Limits) -> Int64[np.ndarray, " k"]:
    """How many of each group's server rows are validation rows; ``limits.validation`` in all."""
    return quotas(limits.validation, share)


def _halves(
    rows: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " m"], limits: Limits, key: Key
) -> tuple[Int64[np.ndarray, " test"], Int64[np.ndarray, " train"]]:
    """A client's rows as test and train, in the proportion of the limits, at least one row each."""
    count = round(len(rows) * limits.test / (limits.train + limits.test))
    return draw(rows, labels[rows], min(max(count, 1), len(rows) - 1), key.numpy())
