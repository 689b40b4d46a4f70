"""Linear products of a pass, with the low-rank pairs of many clients added: all A at once, a 0/1 mask, all B at once.

Every function that computes something returns it together with the function that takes its gradient back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int64

from qfedfm.adapters.dropout import KeyedDropout, keep
from qfedfm.clients.bins import Bins

Matrix = torch.Tensor
Back = Callable[[Matrix], Matrix]


@dataclass(frozen=True)
class Pair:
    """The LoRA pair of a linear module: names of A and B, the scale s = α / r, and its dropout, if it has any."""

    a: str
    b: str
    scale: float
    dropout: KeyedDropout | None = None


@dataclass(frozen=True)
class Linear:
    """y = x Wᵀ + c, and the pairs that add to it, each with the columns of y that it adds to."""

    weight: Float[torch.Tensor, "out in"]
    bias: Float[torch.Tensor, " out"]
    pairs: tuple[tuple[slice, Pair], ...] = ()

    def part(self, first: int, stop: int) -> Linear:
        """The product for some of the columns of y; every pair adds to columns that are all in or all out."""
        inside = [(columns, pair) for columns, pair in self.pairs if first <= columns.start < stop]
        shifted = tuple((slice(columns.start - first, columns.stop - first), pair) for columns, pair in inside)
        return Linear(self.weight[first:stop], self.bias[first:stop], shifted)


@dataclass(frozen=True)
class Pass:
    """One pass through the layers: who sits where, with which pairs.

    Args:
        bins: where the tokens lie.
        lane: for each slot the lane (client) of its token; −1 where there is none.
        apart: added to the attention's scores: −∞ between slots of different rows.
        seed: for each slot the dropout's seed of its row, None where nothing is dropped.
        position: for each slot the place of its token in its row.
        leaves: A [lanes, r, in] and B [lanes, out, r] by name, float32.
        gradients: where the backward pass puts theirs.
    """

    bins: Bins
    lane: Int64[torch.Tensor, " slots"]
    apart: Float[torch.Tensor, "bins 1 length length"]
    seed: Int64[torch.Tensor, " slots"] | None
    position: Int64[torch.Tensor, " slots"]
    leaves: Mapping[str, torch.Tensor]
    gradients: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        bins: Bins,
        lane: Int64[np.ndarray, " rows"],
        leaves: Mapping[str, torch.Tensor],
        seeds: Int64[torch.Tensor, " rows"] | None,
        like: torch.Tensor,
    ) -> Pass:
        """A pass over rows whose lanes and dropout seeds are known; ``like`` says device and precision."""
        apart = torch.zeros(bins.count, 1, bins.length, bins.length, dtype=like.dtype)
        apart.masked_fill_(bins.apart().unsqueeze(1), float("-inf"))
        lanes = torch.from_numpy(np.where(bins.row >= 0, lane[bins.row], -1)).to(like.device)
        position = torch.from_numpy(np.arange(len(bins.row)) - bins.first[bins.row]).to(like.device)
        seed = None if seeds is None else seeds[torch.from_numpy(bins.row)].to(like.device)
        return cls(bins, lanes, apart.to(like.device), seed, position, leaves)


def _dropped(x: Matrix, pair: Pair, now: Pass, slots: Matrix | None) -> Matrix | None:
    """What multiplies the input of a pair in training: 0 or 1 / (1 − p); None for 1."""
    if pair.dropout is None or now.seed is None:
        return None
    seed, position = (part if slots is None else part[slots] for part in (now.seed, now.position))
    kept = keep(seed, pair.dropout.hash, position, x.shape[1], pair.dropout.p)
    return kept.to(x.dtype) / (1 - pair.dropout.p)


def product(
    x: Matrix, linear: Linear, now: Pass, slots: Matrix | None
) -> tuple[Matrix, Callable[[Matrix, bool], Matrix]]:
    """The product x Wᵀ + c plus s · x Aₖᵀ Bₖᵀ for the tokens of every lane k: all A at once, a mask, all B at once.

    ``slots`` are the slots of x's lines, None for all in order.
    """
    y = torch.addmm(linear.bias, x, linear.weight.t())
    if not linear.pairs:  # nothing needs x on the way back, so that it can be let go
        return y, lambda g, below: torch.mm(g, linear.weight) if below else g
    lane = now.lane if slots is None else now.lane[slots]
    kept = []
    for columns, pair in linear.pairs:
        a, b = now.leaves[pair.a], now.leaves[pair.b]
        lanes, rank = a.shape[:2]
        owner = torch.arange(lanes, device=lane.device).repeat_interleave(rank)
        others = lane.unsqueeze(1) != owner
        all_a = a.reshape(lanes * rank, -1).to(x.dtype)
        all_b = b.transpose(1, 2).reshape(lanes * rank, -1).mul(pair.scale).to(x.dtype)
        factor = _dropped(x, pair, now, slots)
        inner = torch.mm(x if factor is None else x * factor, all_a.t()).masked_fill_(others, 0)
        y[:, columns].addmm_(inner, all_b)
        kept.append((columns, pair, others, factor, all_a, all_b, inner))

    def back(g: Matrix, below: bool) -> Matrix:
        dx = torch.mm(g, linear.weight) if below else g
        for columns, pair, others, factor, all_a, all_b, inner in kept:
            part = g[:, columns]
            through = torch.mm(part, all_b.t()).masked_fill_(others, 0)
            a, b = now.leaves[pair.a], now.leaves[pair.b]
            now.gradients[pair.a] = torch.mm(through.t(), x if factor is None else x * factor).float().view(a.shape)
            to_b = torch.mm(inner.t(), part).float().view(len(b), -1, b.shape[1])
            now.gradients[pair.b] = to_b.transpose(1, 2).mul_(pair.scale)
            if below and factor is None:
                dx.addmm_(through, all_a)
            elif below and factor is not None:
                dx.add_(torch.mm(through, all_a).mul_(factor))
        return dx

    return y, back
