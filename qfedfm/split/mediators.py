"""Which clients a mediator gathers: together they should look like the population."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64, Int64

from qfedfm.core.cohort import ClientId
from qfedfm.core.errors import ConfigError

Counts = Int64[np.ndarray, " classes"]


def divergence(
    counts: Int64[np.ndarray, "n classes"], reference: Float64[np.ndarray, " classes"]
) -> Float64[np.ndarray, " n"]:
    """KL(p‖q) = Σ_c p_c log(p_c / q_c) of each row's label distribution p from the reference q, in nats; 0 log 0 = 0.

    Infinite where a row has a label that the reference lacks; 0 for a row without labels.

    Example:
        >>> divergence(np.array([[2, 2], [4, 0]]), np.array([0.5, 0.5])).round(4).tolist()  # 0 and log 2
        [0.0, 0.6931]
    """
    p = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(np.where(p > 0, p, 1.0)) - np.log(reference)), 0.0)
    return np.asarray(np.maximum(terms.sum(axis=1), 0.0))


def gather(counts: Mapping[ClientId, Counts], most: int) -> tuple[tuple[ClientId, ...], ...]:
    """The clients of each mediator, ascending: ⌈n / most⌉ mediators, all but the last with ``most`` clients.

    The reference q is the label distribution of all these clients together. A mediator begins with the client that is
    farthest from q, then takes, one at a time, the client with which its own distribution comes nearest to q. Equally
    good clients: the lowest id. After Yang (IJCAI 2021), runtime distribution reconstruction.

    Differs from the paper: that says to bring mediators near in KL divergence; the order KL(mediator‖all) and the first
    client are our reading. Beginning with the farthest leaves no outliers for the last mediator.

    Args:
        counts: rows of each label, by client.
        most: clients of one mediator.

    Raises:
        ConfigError: ``most`` is below one.

    Example:
        >>> gather({0: np.array([8, 0]), 1: np.array([7, 1]), 2: np.array([0, 8]), 3: np.array([1, 7])}, 2)
        ((0, 2), (1, 3))
    """
    if most < 1:
        raise ConfigError(f"{most} clients of a mediator", "at least one")
    left = sorted(counts)
    table: np.ndarray = np.array([counts[client] for client in left], np.int64).reshape(len(left), -1)
    total = table.sum(axis=0)
    reference = total / max(int(total.sum()), 1)
    found = []
    while left:
        first = int(np.argmax(divergence(table, reference)))
        members, held = [left.pop(first)], table[first]
        table = np.delete(table, first, axis=0)
        while left and len(members) < most:
            best = int(np.argmin(divergence(table + held, reference)))
            members.append(left.pop(best))
            held = held + table[best]
            table = np.delete(table, best, axis=0)
        found.append(tuple(sorted(members)))
    return tuple(found)


def mean_divergence(groups: tuple[tuple[ClientId, ...], ...], counts: Mapping[ClientId, Counts]) -> float:
    """Σ_m (n_m / n) KL(p_m‖q) over mediators m with n_m rows: what `gather` keeps small."""
    held = np.array([np.sum([counts[client] for client in group], axis=0) for group in groups], np.int64)
    rows = held.sum(axis=1)
    return float(divergence(held, held.sum(axis=0) / max(int(rows.sum()), 1)) @ rows / max(int(rows.sum()), 1))
