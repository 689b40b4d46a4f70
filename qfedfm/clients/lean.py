"""BERT's and RoBERTa's encoder written out: forward and backward of many clients' LoRA over one frozen base.

What makes it faster than the modules of transformers: rows are packed into bins without padding, query, key and value
are one product, the frozen weights get no gradients, the low-rank pairs of all clients are one dense product with a
0/1 mask, and where the model reads the first token of each row only, the last layer is computed for those alone.

Every function here that computes something returns it together with the function that takes its gradient back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch.autograd.function import once_differentiable

from qfedfm.adapters.dropout import KeyedDropout, keep
from qfedfm.clients.bins import Bins

Matrix = torch.Tensor
Back = Callable[[Matrix], Matrix]
_aten: Any = torch.ops.aten


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


@dataclass(frozen=True)
class Norm:
    """Layer norm."""

    weight: Float[torch.Tensor, " hidden"]
    bias: Float[torch.Tensor, " hidden"]
    eps: float


@dataclass(frozen=True)
class Layer:
    """One layer after Devlin et al. (2019), arXiv 1810.04805: norms come after the residual sums."""

    qkv: Linear
    attended: Linear
    norm: Norm
    wide: Linear
    narrow: Linear
    last_norm: Norm
    heads: int


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


def _product(
    x: Matrix, linear: Linear, now: Pass, slots: Matrix | None
) -> tuple[Matrix, Callable[[Matrix, bool], Matrix]]:
    """The product x Wᵀ + c plus s · x Aₖᵀ Bₖᵀ for the tokens of every lane k: all A at once, a mask, all B at once.

    ``slots`` are the slots of x's lines, None for all in order.
    """
    y = torch.addmm(linear.bias, x, linear.weight.t())
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


def _normed(x: Matrix, norm: Norm) -> tuple[Matrix, Back]:
    shape = [x.shape[1]]
    y, mean, rstd = torch.native_layer_norm(x, shape, norm.weight, norm.bias, norm.eps)

    def back(g: Matrix) -> Matrix:
        found = _aten.native_layer_norm_backward(g, x, shape, mean, rstd, norm.weight, norm.bias, [True, False, False])
        return found[0]  # type: ignore[no-any-return]

    return y, back


def _attention(qkv: Matrix, heads: int, now: Pass) -> tuple[Matrix, Back]:
    """softmax(QKᵀ/√h + apart) V in every bin and head."""
    bins, length = now.bins.count, now.bins.length
    width = qkv.shape[1] // 3 // heads
    scale = 1 / math.sqrt(width)
    q, k, v = qkv.view(bins, length, 3, heads, width).permute(2, 0, 3, 1, 4).reshape(3, bins * heads, length, width)
    scores = torch.bmm(q, k.transpose(1, 2)).view(bins, heads, length, length)
    share = torch.softmax(scores.mul_(scale).add_(now.apart), dim=-1).view(bins * heads, length, length)
    attended = torch.bmm(share, v)

    def merged(parts: Matrix) -> Matrix:
        return parts.view(bins, heads, length, width).transpose(1, 2).reshape(bins * length, heads * width)

    def back(g: Matrix) -> Matrix:
        g = g.view(bins, length, heads, width).transpose(1, 2).reshape(bins * heads, length, width)
        found = qkv.new_empty(3, bins * heads, length, width)
        torch.bmm(share.transpose(1, 2), g, out=found[2])
        through = torch.bmm(g, v.transpose(1, 2))
        through = torch._softmax_backward_data(through, share, -1, share.dtype).mul_(scale)
        torch.bmm(through, k, out=found[0])
        torch.bmm(through.transpose(1, 2), q, out=found[1])
        found = found.view(3, bins, heads, length, width).permute(1, 3, 0, 2, 4)
        return found.reshape(bins * length, 3 * heads * width)

    return merged(attended), back


def _feed_forward(x: Matrix, layer: Layer, now: Pass, slots: Matrix | None) -> tuple[Matrix, Back]:
    """The sum x + W₂ gelu(W₁ x)."""
    before, back_wide = _product(x, layer.wide, now, slots)
    y, back_narrow = _product(torch.nn.functional.gelu(before), layer.narrow, now, slots)

    def back(g: Matrix) -> Matrix:
        inside = _aten.gelu_backward(back_narrow(g, True), before)
        return back_wide(inside, True).add_(g)

    return y.add_(x), back


def _layer(x: Matrix, layer: Layer, now: Pass, first: Matrix | None) -> tuple[Matrix, Callable[[Matrix, bool], Matrix]]:
    """One layer; ``first`` are the slots of the only tokens that its output is wanted for, None for all."""
    qkv, back_qkv = _product(x, layer.qkv, now, None)
    attended, back_attention = _attention(qkv, layer.heads, now)
    under = x
    if first is not None:
        attended, under = attended[first], x[first]
    y, back_attended = _product(attended, layer.attended, now, first)
    y, back_norm = _normed(y.add_(under), layer.norm)
    y, back_forward = _feed_forward(y, layer, now, first)
    y, back_last = _normed(y, layer.last_norm)

    def spread(g: Matrix) -> Matrix:
        return g if first is None else g.new_zeros(len(x), g.shape[1]).index_copy_(0, first, g)

    def back(g: Matrix, below: bool) -> Matrix:
        g = back_norm(back_forward(back_last(g)))
        through = back_attention(spread(back_attended(g, True)))
        dx = back_qkv(through, below)
        return dx.add_(spread(g)) if below else dx

    return y, back


def encode(
    x: Float[torch.Tensor, "slots hidden"], layers: Sequence[Layer], now: Pass, first: Matrix | None
) -> tuple[Matrix, Callable[[Matrix], None]]:
    """All layers, the last for the slots in ``first`` only; the way back fills ``now.gradients``."""
    backs: list[Callable[[Matrix, bool], Matrix]] = []
    if not layers and first is not None:
        x = x[first]
    for i, layer in enumerate(layers):
        x, back = _layer(x, layer, now, first if i == len(layers) - 1 else None)
        backs.append(back)

    def back_all(g: Matrix) -> None:
        for i in range(len(backs) - 1, -1, -1):
            g = backs[i](g, i > 0)

    return x, back_all


class Encode(torch.autograd.Function):
    """`encode` with autograd above it: gradients reach the pairs' leaves."""

    @staticmethod
    def forward(
        ctx: Any, x: Matrix, layers: Sequence[Layer], now: Pass, first: Matrix | None, names: Sequence[str], *_: Matrix
    ) -> Matrix:
        """The hidden states above the last layer."""
        y, ctx.back = encode(x, layers, now, first)
        ctx.now, ctx.names = now, names
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Matrix) -> tuple[Matrix | None, ...]:
        """Gradients of the leaves."""
        ctx.back(g)
        return None, None, None, None, None, *(ctx.now.gradients.get(name) for name in ctx.names)
