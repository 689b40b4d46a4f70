"""BERT's and RoBERTa's encoder written out: forward and backward of many clients' LoRA over one frozen base.

What makes it faster than the modules of transformers: rows are packed into bins without padding, query, key and value
are one product, the frozen weights get no gradients, the low-rank pairs of all clients are one dense product with a
0/1 mask, and where the model reads the first token of each row only, the last layer is computed for those alone.

Every function here that computes something returns it together with the function that takes its gradient back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch.autograd.function import once_differentiable

from qfedfm.clients.attention import first_attention, self_attention
from qfedfm.clients.products import Back, Linear, Matrix, Pass, product

_aten: Any = torch.ops.aten


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


def _normed(x: Matrix, norm: Norm) -> tuple[Matrix, Back]:
    shape = [x.shape[1]]
    y, mean, rstd = torch.native_layer_norm(x, shape, norm.weight, norm.bias, norm.eps)

    def back(g: Matrix) -> Matrix:
        found = _aten.native_layer_norm_backward(g, x, shape, mean, rstd, norm.weight, norm.bias, [True, False, False])
        return found[0]  # type: ignore[no-any-return]

    return y, back


def _feed_forward(x: Matrix, layer: Layer, now: Pass, slots: Matrix | None) -> tuple[Matrix, Back]:
    """The sum x + W₂ gelu(W₁ x)."""
    before, back_wide = product(x, layer.wide, now, slots)
    y, back_narrow = product(torch.nn.functional.gelu(before), layer.narrow, now, slots)

    def back(g: Matrix) -> Matrix:
        inside = _aten.gelu_backward(back_narrow(g, True), before)
        return back_wide(inside, True).add_(g)

    return y.add_(x), back


def _layer(x: Matrix, layer: Layer, now: Pass, first: Matrix | None) -> tuple[Matrix, Callable[[Matrix, bool], Matrix]]:
    """One layer; ``first`` are the slots of the only tokens that its output is wanted for, None for all."""
    if first is None:
        under, (attended, back_attention) = x, self_attention(x, layer.qkv, layer.heads, now)
    else:
        under, (attended, back_attention) = x[first], first_attention(x, layer.qkv, layer.heads, now, first)
    y, back_attended = product(attended, layer.attended, now, first)
    y, back_norm = _normed(y.add_(under), layer.norm)
    y, back_forward = _feed_forward(y, layer, now, first)
    y, back_last = _normed(y, layer.last_norm)

    def back(g: Matrix, below: bool) -> Matrix:
        g = back_norm(back_forward(back_last(g)))
        dx = back_attention(back_attended(g, True), below)
        if not below:
            return dx
        return dx.add_(g) if first is None else dx.index_add_(0, first, g)

    return y, back


def encode(
    x: Float[torch.Tensor, "slots hidden"], layers: Sequence[Layer], now: Pass, first: Matrix | None, *, keep: bool
) -> tuple[Matrix, Callable[[Matrix], None]]:
    """All layers, the last for the slots in ``first`` only; the way back fills ``now.gradients``.

    What a way back needs is kept only if ``keep``.
    """
    backs: list[Callable[[Matrix, bool], Matrix]] = []
    if not layers and first is not None:
        x = x[first]
    for i, layer in enumerate(layers):
        x, back = _layer(x, layer, now, first if i == len(layers) - 1 else None)
        if keep:
            backs.append(back)
        del back

    def back_all(g: Matrix) -> None:
        while backs:  # what a layer kept is let go before the layer below needs room
            g = backs.pop()(g, bool(backs))

    return x, back_all


class Encode(torch.autograd.Function):
    """`encode` with autograd above it: gradients reach the pairs' leaves."""

    @staticmethod
    def forward(
        ctx: Any, x: Matrix, layers: Sequence[Layer], now: Pass, first: Matrix | None, names: Sequence[str], *_: Matrix
    ) -> Matrix:
        """The hidden states above the last layer."""
        y, ctx.back = encode(x, layers, now, first, keep=any(ctx.needs_input_grad))
        ctx.now, ctx.names = now, names
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Matrix) -> tuple[Matrix | None, ...]:
        """Gradients of the leaves."""
        ctx.back(g)
        return None, None, None, None, None, *(ctx.now.gradients.get(name) for name in ctx.names)
