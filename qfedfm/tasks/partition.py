"""Which client holds which rows: by source, by label, at random, evenly or not."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pydantic
from jaxtyping import Int64

from qfedfm.core.errors import DataError
from qfedfm.core.key import Key

_DRAWS = 1000
"""How often an unlucky draw, one that leaves a client too few rows, is drawn again."""


class Partition(pydantic.BaseModel, abc.ABC):
    """A rule that gives each row to one client.

    Args:
        minimum: the fewest rows of a client, for training and testing together.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    by_source: ClassVar[bool] = False
    """Whether the clients are the data's own sources."""

    minimum: int = pydantic.Field(default=10, ge=2)

    @abc.abstractmethod
    def owners(
        self, labels: Int64[np.ndarray, " n"], sources: Int64[np.ndarray, " n"], key: Key
    ) -> Int64[np.ndarray, " n"]:
        """The client of each row.

        Args:
            labels: of the rows.
            sources: of the rows, all 0 where the data have none.
            key: of this partition's draws.

        Raises:
            DataError: there are too few rows for every client to have the minimum.
        """


class BySource(Partition):
    """Each source of the data (a value of the client column) is one client."""

    name: Literal["source"] = "source"
    by_source: ClassVar[bool] = True

    def owners(
        self, labels: Int64[np.ndarray, " n"], sources: Int64[np.ndarray, " n"], key: Key
    ) -> Int64[np.ndarray, " n"]:
        return sources


class _Split(Partition):
    """A partition into a stated number of clients."""

    clients: int = pydantic.Field(default=10, ge=1)

    def _enough(self, rows: int) -> None:
        if rows < self.clients * self.minimum:
            given = f"{rows} rows for {self.clients} clients of at least {self.minimum} rows"
            raise DataError(given, f"at least {self.clients * self.minimum} rows", "take fewer clients or more data")

    def _unlucky(self, why: str) -> DataError:
        given = f"{_DRAWS} draws of {why}, each with a client below {self.minimum} rows"
        return DataError(given, "a client with enough rows each", "raise alpha, lower minimum or take fewer clients")


class Iid(_Split):
    """Every client draws from the same distribution; sizes differ by one row at most."""

    name: Literal["iid"] = "iid"

    def owners(
        self, labels: Int64[np.ndarray, " n"], sources: Int64[np.ndarray, " n"], key: Key
    ) -> Int64[np.ndarray, " n"]:
        self._enough(len(labels))
        return key.fold("iid").numpy().permutation(np.arange(len(labels), dtype=np.int64) % self.clients)


class Dirichlet(_Split):
    """Label skew: of each class, the clients' shares are drawn from Dir(α, …, α). Small α: few classes a client.

    From Yurochkin et al., ICML 2019 (arXiv 1905.12022), as in Li et al., ICDE 2022 (arXiv 2102.02079), p_k ~ Dir(α).

    Differs from the paper: drawn again until each client has ``minimum`` rows, at most 1000 times.
    """

    name: Literal["dirichlet"] = "dirichlet"
    alpha: float = pydantic.Field(gt=0, allow_inf_nan=False)

    def owners(
        self, labels: Int64[np.ndarray, " n"], sources: Int64[np.ndarray, " n"], key: Key
    ) -> Int64[np.ndarray, " n"]:
        self._enough(len(labels))
        rng = key.fold("dirichlet").numpy()
        owner = np.empty(len(labels), np.int64)
        for _ in range(_DRAWS):
            for label in np.unique(labels):
                rows = rng.permutation(np.flatnonzero(labels == label))
                owner[rows] = np.repeat(np.arange(self.clients), _sizes(len(rows), self.clients, self.alpha, rng))
            if np.bincount(owner, minlength=self.clients).min() >= self.minimum:
                return owner
        raise self._unlucky(f"Dirichlet label shares with alpha = {self.alpha:g}")


class ByLabel(_Split):
    """Pathological label skew: rows sorted by label, cut into shards, ``shards`` of them dealt to each client.

    From McMahan et al., AISTATS 2017 (arXiv 1602.05629), section 3, where each client has 2 shards.
    """

    name: Literal["label"] = "label"
    shards: int = pydantic.Field(default=2, ge=1)

    def owners(
        self, labels: Int64[np.ndarray, " n"], sources: Int64[np.ndarray, " n"], key: Key
    ) -> Int64[np.ndarray, " n"]:
        self._enough(len(labels))
        rng = key.fold("label").numpy()
        total = self.clients * self.shards
        if len(labels) < total:
            raise DataError(f"{len(labels)} rows for {total} shards", "at least one row a shard", "take fewer shards")
        shuffled = rng.permutation(len(labels))
        by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
        dealt = rng.permutation(total) % self.clients
        owner = np.empty(len(labels), np.int64)
        for client, shard in zip(dealt, np.array_split(by_label, total), strict=True):
            owner[shard] = client
        return owner


class Quantity(_Split):
    """Quantity skew: the clients' sizes are drawn from Dir(α, …, α), their labels from one distribution.

    From Li et al., ICDE 2022 (arXiv 2102.02079), q ~ Dir(β).

    Differs from the paper: drawn again until each client has ``minimum`` rows, at most 1000 times.
    """

    name: Literal["quantity"] = "quantity"
    alpha: float = pydantic.Field(gt=0, allow_inf_nan=False)

    def owners(
        self, labels: Int64[np.ndarray, " n"], sources: Int64[np.ndarray, " n"], key: Key
    ) -> Int64[np.ndarray, " n"]:
        self._enough(len(labels))
        rng = key.fold("quantity").numpy()
        for _ in range(_DRAWS):
            sizes = _sizes(len(labels), self.clients, self.alpha, rng)
            if sizes.min() >= self.minimum:
                return rng.permutation(np.repeat(np.arange(self.clients), sizes))
        raise self._unlucky(f"Dirichlet sizes with alpha = {self.alpha:g}")


def _sizes(total: int, clients: int, alpha: float, rng: np.random.Generator) -> Int64[np.ndarray, " clients"]:
    """``total`` rows divided in shares drawn from Dir(α), by cutting at the rounded cumulative shares."""
    cuts = np.rint(np.cumsum(rng.dirichlet(np.full(clients, alpha))) * total).astype(np.int64)
    cuts[-1] = total
    return np.diff(cuts, prepend=0)


def _named(config: Any) -> Any:
    if isinstance(config, str):
        return {"name": config}
    return {"name": "source", **config} if isinstance(config, Mapping) else config


AnyPartition = Annotated[
    Annotated[BySource | Iid | Dirichlet | ByLabel | Quantity, pydantic.Field(discriminator="name")],
    pydantic.BeforeValidator(_named),
]
"""A partition in a configuration: its name, or a table of its name (``source`` where it has none) and options."""
