"""Who shares a mask with whom: everyone with everyone, or everyone with k others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qfedfm.core.errors import ConfigError

Neighbours = Mapping[int, tuple[int, ...]]
"""The neighbours of each client, ascending."""


@dataclass(frozen=True)
class Complete:
    """Every pair of clients shares a mask; needs no assumption about how colluders and dropouts are spread."""

    def neighbours(self, clients: Sequence[int], seed: bytes) -> Neighbours:
        """All others.

        Args:
            clients: different ids.
            seed: not used.
        """
        return {client: tuple(sorted(set(clients) - {client})) for client in clients}

    def shares_needed(self, clients: int, colluders: int) -> int:
        """The least t with 2t > n + c: so c colluders and a server that lies never see t shares of both secrets.

        Args:
            clients: n, those invited.
            colluders: c.
        """
        return (clients + colluders) // 2 + 1


@dataclass(frozen=True)
class Regular:
    """A Harary graph over clients in a random order: each shares masks with the k/2 before and after it on a circle.

    Bell, Bonawitz, Gascón, Lepoint & Raykova, CCS 2020, eprint 2020/704. `regular` chooses the numbers. The order is
    drawn from a hash of what all clients advertised. The bounds hold for colluders and dropouts that do not depend on
    it. A hostile server can make them depend: it sees the graph before it chooses who drops out, and a colluder whose
    advert comes last can try adverts until the graph suits it. Either isolates a client.

    Differs from the paper: one graph for masks and shares; each client keeps a share of its own secrets; the order
    comes from a hash, not from the server.

    Args:
        degree: k, even. With at most k + 1 clients the graph is complete.
        colluders: how many of a client's neighbours may collude with the server.
        threshold: t, of k + 1 shares.

    Raises:
        ConfigError: k is odd or below 2, or not 2t > k + 1 + colluders, or t > k + 1.
    """

    degree: int
    colluders: int
    threshold: int

    def __post_init__(self) -> None:
        holders = self.degree + 1
        enough = holders + self.colluders < 2 * self.threshold <= 2 * holders
        if self.degree < 2 or self.degree % 2 or self.colluders < 0 or not enough:
            given = f"degree {self.degree} with {self.colluders} colluders and threshold {self.threshold}"
            raise ConfigError(given, "an even degree k of at least 2 and k + 1 + colluders < 2t ≤ 2(k + 1)")

    def neighbours(self, clients: Sequence[int], seed: bytes) -> Neighbours:
        """The neighbours on the circle.

        Args:
            clients: different ids.
            seed: 32 bytes that all parties know, from which the order follows.
        """
        n = len(clients)
        generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))
        circle, reach = generator.permutation(sorted(clients)).tolist(), range(1, min(self.degree // 2, n // 2) + 1)
        return {
            client: tuple(sorted({circle[(place + step * side) % n] for step in reach for side in (1, -1)} - {client}))
            for place, client in enumerate(circle)
        }

    def shares_needed(self, clients: int, colluders: int) -> int:
        """The threshold that it was made with."""
        return self.threshold


Graph = Complete | Regular


def regular(clients: int, colluders: int, dropouts: int, failure: float = 2.0**-40) -> Regular:
    """The regular graph of least degree in which three things each go wrong with a probability of at most failure/3.

    With c colluders and δ dropouts among n clients in a random order, and unions over the n clients:

    - more than m of a client's neighbours collude, n · P[Hyp(n − 1, c, k) > m]; m then gives t, the least with
      2t > k + 1 + m;
    - more than k − t of its neighbours drop out, n · P[Hyp(n − 1, δ, k) > k − t], so that its secrets are lost;
    - k/2 neighbours on the circle are all colluders or dropouts, n · C(c + δ, k/2) / C(n, k/2): without such a run each
      remaining client is connected to the next one, so that the server sees the sum of all honest survivors only.

    After Bell et al., eprint 2020/704, section 3: the same three events, with exact tails in the place of their bounds.

    Args:
        clients: n.
        colluders: c, clients that tell the server what they know.
        dropouts: δ, clients that fail for reasons that do not depend on the graph.
        failure: the whole probability.

    Raises:
        ConfigError: no degree below n − 1 is enough; or numbers out of range.

    Example:
        >>> graph = regular(1000, 50, 50, 1e-6)
        >>> graph.degree < 100, 2 * graph.threshold > graph.degree + 1 + graph.colluders
        (True, True)
    """
    if not (colluders >= 0 and dropouts >= 0 and colluders + dropouts < clients and 0 < failure < 1):
        given = f"{colluders} colluders and {dropouts} dropouts of {clients} clients, failure {failure}"
        raise ConfigError(given, "fewer than all clients in both together, and a probability between 0 and 1")
    each = failure / 3 / clients
    for degree in range(2, clients - 1, 2):
        gap = degree // 2
        if math.comb(colluders + dropouts, gap) / math.comb(clients, gap) > each:
            continue
        near = next(m for m in range(degree + 1) if tail(clients - 1, colluders, degree, m) <= each)
        threshold = (degree + 1 + near) // 2 + 1
        if threshold <= degree and tail(clients - 1, dropouts, degree, degree - threshold) <= each:
            return Regular(degree, near, threshold)
    given = f"a regular graph for {clients} clients with {colluders} colluders and {dropouts} dropouts"
    raise ConfigError(given, "more clients or fewer colluders and dropouts", "take the complete graph")


def tail(population: int, marked: int, drawn: int, more_than: int) -> float:
    """P[X > m] of a hypergeometric X: the marked ones among those drawn without replacement.

    Example:
        >>> tail(3, 1, 2, 0)
        0.6666666666666666
    """
    above = range(more_than + 1, min(marked, drawn) + 1)
    ways = sum(math.comb(marked, x) * math.comb(population - marked, drawn - x) for x in above)
    return ways / math.comb(population, drawn)
