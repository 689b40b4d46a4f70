"""One round's updates, and what a reduce makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Float64

from qfedfm.core.errors import DataError
from qfedfm.core.held import Held
from qfedfm.core.layout import Layout
from qfedfm.core.pairs import Distances, distances
from qfedfm.core.sums import weighted_sum

ClientId = int
State = Mapping[str, np.ndarray]
"""What a part carries from round to round: named arrays, saved with the checkpoint."""
EMPTY: State = {}


def all_finite(X: Float32[np.ndarray, "n d"]) -> bool:
    """Whether no number is NaN or infinite, in one pass over memory: the second look at a row finds it in the cache."""
    return all(bool(np.isfinite(row.min()) and np.isfinite(row.max())) for row in X)


@dataclass(frozen=True)
class Cohort:
    """The updates of one round: ``X`` holds one *delta* a row (never weights: their distances drown in rounding).

    Args:
        X: n × d, float32, contiguous.
        weights: n positive sample counts (or other weights), float64.
        clients: n different client ids, in the order of the rows. After a cohort layer has merged rows, the first
            client of each row.
        layout: what the columns mean.
        mixing: None while each row is one client's update; else the rows × clients matrix M of the cohort layers so
            far, X = M · X_clients, with which weights of rows are taken back to ``members``.
        members: the clients that the columns of ``mixing`` stand for; the same as ``clients`` without one.
        held: what each client holds, its row being zero elsewhere; None where all hold all.

    Raises:
        DataError: shapes that do not fit, a repeated client, a weight that is not positive, a value that is not finite,
            a value where its client holds nothing.
    """

    X: Float32[np.ndarray, "n d"]
    weights: Float[np.ndarray, " n"]
    clients: tuple[ClientId, ...]
    layout: Layout
    mixing: Float[np.ndarray, "n c"] | None = None
    members: tuple[ClientId, ...] = ()
    held: Held | None = None

    def __post_init__(self) -> None:
        n, d = self.X.shape
        if n == 0 or len(self.clients) != n or self.weights.shape != (n,) or d != self.layout.size:
            given = f"{n} updates of length {d}, {len(self.weights)} weights, {len(self.clients)} clients"
            raise DataError(given, f"the same number of each, at least one, and length {self.layout.size}")
        if len(set(self.clients)) != n:
            raise DataError("a client twice in one cohort", "each client once")
        if self.X.dtype != np.float32 or not self.X.flags.c_contiguous:
            raise DataError(f"updates as {self.X.dtype}", "one contiguous float32 matrix")
        if not (np.isfinite(self.weights).all() and (self.weights > 0).all()):
            raise DataError("weights that are not positive and finite", "positive sample counts")
        if not all_finite(self.X):
            raise DataError("an update with NaN or infinite values", "finite numbers only", "leave that client out")
        if self.held is not None:
            for client, row in zip(self.clients, self.X, strict=True):
                self.held.check(client, row)
        if not self.members:
            object.__setattr__(self, "members", self.clients)
        if self.mixing is not None and self.mixing.shape != (n, len(self.members)):
            given = f"mixing of shape {self.mixing.shape} for {n} rows of {len(self.members)} clients"
            raise DataError(given, f"({n}, {len(self.members)})")

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])

    @property
    def shares(self) -> Float[np.ndarray, " n"]:
        """The weights divided by their sum, float64."""
        weights = self.weights.astype(np.float64)
        return np.asarray(weights / weights.sum())

    @cached_property
    def distances(self) -> Distances:
        """The squared distances between the rows, computed once for all who ask."""
        return distances(self.X, self.clients)

    def mixed(self, weights: Float64[np.ndarray, "n n"]) -> Cohort:
        """The cohort of rows W·X with the same ids and sample weights, for rows of W that sum to one.

        Where this cohort's distances are known and allow it, those of the result follow from them.
        """
        earlier = np.eye(self.n) if self.mixing is None else self.mixing
        mixed = replace(self, X=weighted_sum(weights, self.X), mixing=weights @ earlier)
        known = self.distances.mixed(weights, mixed.X) if "distances" in self.__dict__ else None
        if known is not None:
            mixed.__dict__["distances"] = known
        return mixed


@dataclass(frozen=True)
class Personal:
    """What a reduce gives to clusters of clients, besides the one vector for all.

    Args:
        labels: the cluster of each client that has one from now on, numbered from 0.
        vectors: the aggregated delta of each cluster that took part, d, float32.
    """

    labels: Mapping[ClientId, int]
    vectors: Mapping[int, Float32[np.ndarray, " d"]]


@dataclass(frozen=True)
class Reduced:
    """One vector out of a cohort.

    Args:
        vector: d, float32: the aggregated delta.
        row_weights: the weight that each row of the cohort had in the vector, where the reduce is a weighted sum.
        client_weights: the same taken back to client ids (filled in once the cohort layers are undone).
        diagnostics: named numbers for the history (``loss_before``, ``shots`` …).
        personal: for a reduce that gives each cluster of clients a model of its own; None where all share one.
    """

    vector: Float32[np.ndarray, " d"]
    row_weights: Float[np.ndarray, " n"] | None = None
    client_weights: Mapping[ClientId, float] | None = None
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    personal: Personal | None = None


def client_weights(reduced: Reduced, mixing: Float[np.ndarray, "n c"] | None, members: tuple[ClientId, ...]) -> Reduced:
    """The result with its row weights taken back to the clients, where it has any."""
    if reduced.row_weights is None:
        return reduced
    weights = reduced.row_weights if mixing is None else reduced.row_weights @ mixing
    named = {client: float(weight) for client, weight in zip(members, weights, strict=True)}
    return replace(reduced, client_weights=named)
