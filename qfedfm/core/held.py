"""Nested ranks: weak clients hold the first components of every LoRA module, and the server knows who holds what.

HeteroFL (Diao, Ding & Tarokh, ICLR 2021, arXiv 2010.01264), FjORD (Horváth et al., NeurIPS 2021, arXiv 2102.13451),
and for LoRA HetLoRA (Cho et al., EMNLP 2024, arXiv 2401.06432).

Differs from the papers: what a client holds stays the same in all rounds (FjORD also trains narrower parts of it,
HetLoRA prunes ranks), and coordinates are averaged over their holders as in HeteroFL, without HetLoRA's weights by
norm. The factor α/r of LoRA is that of the whole rank for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Float64

from qfedfm.core.errors import ConfigError, DataError
from qfedfm.core.layout import Layout
from qfedfm.core.sums import saturate

if TYPE_CHECKING:
    from qfedfm.core.cohort import ClientId


@dataclass(frozen=True)
class Holding:
    """What clients of one capacity hold.

    Args:
        layout: of the vector that travels: of what they hold.
        mask: which coordinates of the whole vector these are, in the order in which they travel; None for all.
        share: of each rank.

    Example:
        >>> holding = Holding(Layout.of({"w": (2,)}), np.array([True, False, True]))
        >>> holding.narrow(np.array([1, 2, 3], np.float32)).tolist()
        [1.0, 3.0]
        >>> holding.widen(np.array([1, 3], np.float32)).tolist()
        [1.0, 0.0, 3.0]
    """

    layout: Layout
    mask: Bool[np.ndarray, " d"] | None = None
    share: float = 1.0

    def narrow(self, x: Float32[np.ndarray, " d"]) -> Float32[np.ndarray, " k"]:
        """What is held of a whole vector; the vector itself where that is all."""
        return x if self.mask is None else x[self.mask]

    def widen(self, y: Float32[np.ndarray, " k"]) -> Float32[np.ndarray, " d"]:
        """The whole vector, zero where nothing is held."""
        if self.mask is None:
            return y
        x = np.zeros(self.mask.shape, np.float32)
        x[self.mask] = y
        return x


@dataclass(frozen=True)
class Held:
    """Who holds what: one mask for each capacity, however many clients there are.

    Args:
        holdings: of the capacities.
        index: for each client the place of its holding among them.
    """

    holdings: tuple[Holding, ...]
    index: Mapping[ClientId, int]

    def of(self, client: ClientId) -> Holding:
        """What a client holds.

        Raises:
            DataError: nobody said so.
        """
        if client not in self.index:
            raise DataError(f"client {client}, of which nobody said what it holds", "the clients that were bound")
        return self.holdings[self.index[client]]

    def check(self, client: ClientId, x: Float32[np.ndarray, " d"]) -> None:
        """Refuses an update that is not zero where its client holds nothing.

        Raises:
            DataError: it is not, or nobody said what the client holds.
        """
        mask = self.of(client).mask
        if mask is not None and x[~mask].any():
            raise DataError(f"an update of client {client} where it holds nothing", "zeros there")

    def mean_of_holders(
        self, mean: Float32[np.ndarray, " d"], clients: Sequence[ClientId], weights: Float64[np.ndarray, " n"]
    ) -> Float32[np.ndarray, " d"]:
        """Σₖ wₖ mₖ Δₖ / Σₖ wₖ mₖ in each coordinate, from the mean over all clients; 0 where nobody holds it.

        mₖ is 1 where client k holds the coordinate and 0 elsewhere. There its update is 0, so that the mean over all,
        Σₖ wₖ Δₖ / Σₖ wₖ, has the same numerator: it is multiplied by Σₖ wₖ / Σₖ wₖ mₖ, which is exactly 1 where all
        hold the coordinate.

        Args:
            mean: Σₖ wₖ Δₖ / Σₖ wₖ.
            clients: whose updates are in it.
            weights: w > 0, theirs.
        """
        order = np.argsort(clients)
        places = np.array([self.index[client] for client in clients], np.int64)[order]
        masses = np.bincount(places, weights[order], len(self.holdings))
        whole, total = 0.0, np.zeros(len(mean))
        for holding, mass in zip(self.holdings, masses.tolist(), strict=True):
            whole += mass
            np.add(total, mass, out=total, where=True if holding.mask is None else holding.mask)
        factor = np.divide(whole, total, out=np.zeros_like(total), where=total > 0)
        return saturate(mean * factor)


def nested(layout: Layout, shares: Mapping[ClientId, float]) -> Held | None:
    """Who holds what if each client has this share of every rank; None where all hold all.

    Of a LoRA module of rank r a client with share s holds the first max(1, round(s · r)) rows of A and columns of B;
    of all else it holds everything.

    Args:
        layout: of the whole vector.
        shares: in (0, 1], by client.

    Raises:
        ConfigError: a share below 1 for an adapter without LoRA modules.

    Example:
        >>> held = nested(Layout.of({"q.lora_A.weight": (2, 1), "q.lora_B.weight": (3, 2)}), {0: 1.0, 5: 0.5})
        >>> held.of(5).mask.astype(int).tolist(), [entry.shape for entry in held.of(5).layout]
        ([1, 0, 1, 0, 1, 0, 1, 0], [(1, 1), (3, 1)])
    """
    different = sorted(set(shares.values()), reverse=True)
    holdings = tuple(_holding(layout, share) for share in different)
    if all(holding.mask is None for holding in holdings):
        return None
    places = {share: place for place, share in enumerate(different)}
    return Held(holdings, {client: places[share] for client, share in shares.items()})


def _holding(layout: Layout, share: float) -> Holding:
    if share == 1:
        return Holding(layout)
    if not layout.lora_pairs:
        given = f"capacity {share} for an adapter without LoRA modules"
        raise ConfigError(given, "ranks of which weak clients hold the first ones", "adapt with lora, or leave it out")
    mask = np.ones(layout.size, bool)
    shapes = {entry.name: entry.shape for entry in layout}
    for A, B in layout.lora_pairs:
        rank = max(1, round(share * A.shape[0]))
        mask[A.start : A.stop].reshape(A.shape)[rank:] = False
        mask[B.start : B.stop].reshape(B.shape)[:, rank:] = False
        shapes |= {A.name: (rank, A.shape[1]), B.name: (B.shape[0], rank)}
    return Holding(layout) if mask.all() else Holding(Layout.of(shapes), mask, share)
