"""Attention in bins, for all tokens or for the first of each row only."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from qfedfm.clients.products import Linear, Matrix, Pass, product

Gradients = tuple[Matrix, Matrix, Matrix]


def _attend(q: Matrix, k: Matrix, v: Matrix, apart: Matrix) -> tuple[Matrix, Callable[[Matrix, Gradients], None]]:
    """softmax(QKᵀ/√h + apart) V for every bin and head.

    Args:
        q: [bins · heads, queries, h].
        k: [bins · heads, length, h].
        v: likewise.
        apart: [bins, 1, queries, length].

    Returns:
        The attended values like q, and the function that writes the gradients of q, k and v into given tensors.
    """
    scale = 1 / math.sqrt(q.shape[2])
    scores = torch.bmm(q, k.transpose(1, 2))
    masked = scores.view(len(apart), -1, *apart.shape[2:]).mul_(scale).add_(apart)
    share = torch.softmax(masked, dim=-1).view(scores.shape)

    def back(g: Matrix, into: Gradients) -> None:
        torch.bmm(share.transpose(1, 2), g, out=into[2])
        through = torch._softmax_backward_data(torch.bmm(g, v.transpose(1, 2)), share, -1, share.dtype).mul_(scale)
        torch.bmm(through, k, out=into[0])
        torch.bmm(through.transpose(1, 2), q, out=into[1])

    return torch.bmm(share, v), back


def _apart_heads(x: Matrix, bins: int, parts: int, heads: int) -> Matrix:
    """[bins · n, parts · heads · h] to [parts, bins · heads, n, h]."""
    found = x.view(bins, len(x) // bins, parts, heads, -1).permute(2, 0, 3, 1, 4)
    return found.reshape(parts, bins * heads, found.shape[3], found.shape[4])


def _joined_heads(x: Matrix, bins: int) -> Matrix:
    """The way back of `_apart_heads`."""
    parts, heads = len(x), x.shape[1] // bins
    found = x.view(parts, bins, heads, *x.shape[2:]).permute(1, 3, 0, 2, 4)
    return found.reshape(bins * x.shape[2], -1)


def self_attention(x: Matrix, qkv: Linear, heads: int, now: Pass) -> tuple[Matrix, Callable[[Matrix, bool], Matrix]]:
    """The attended values of all slots."""
    bins = now.bins.count
    y, back_qkv = product(x, qkv, now, None)
    q, k, v = _apart_heads(y, bins, 3, heads)
    attended, back_attend = _attend(q, k, v, now.apart)

    def back(g: Matrix, below: bool) -> Matrix:
        found = q.new_empty(3, *q.shape)
        (through,) = _apart_heads(g, bins, 1, heads)
        back_attend(through, (found[0], found[1], found[2]))
        return back_qkv(_joined_heads(found, bins), below)

    return _joined_heads(attended.unsqueeze(0), bins), back


def first_attention(
    x: Matrix, qkv: Linear, heads: int, now: Pass, first: Matrix
) -> tuple[Matrix, Callable[[Matrix, bool], Matrix]]:
    """The attended values of some slots only, at most a few in each bin: queries are computed for them alone.

    Args:
        x: of all slots.
        qkv: weights of query, key and value, one above the other.
        heads: of the attention.
        now: the pass.
        first: the slots.
    """
    bins, length, hidden = now.bins.count, now.bins.length, len(qkv.bias) // 3
    place, queries = _places(now.bins.first, length)
    where = torch.from_numpy(place).to(x.device)
    asked, back_query = product(x[first], qkv.part(0, hidden), now, first)
    told, back_told = product(x, qkv.part(hidden, 3 * hidden), now, None)
    laid = asked.new_zeros(bins * queries, hidden).index_copy_(0, where, asked)
    apart = now.apart.new_zeros(bins * queries, length)
    apart.index_copy_(0, where, now.apart.view(-1, length)[first])
    (q,), (k, v) = _apart_heads(laid, bins, 1, heads), _apart_heads(told, bins, 2, heads)
    attended, back_attend = _attend(q, k, v, apart.view(bins, 1, queries, length))

    def back(g: Matrix, below: bool) -> Matrix:
        (through,) = _apart_heads(g.new_zeros(bins * queries, hidden).index_copy_(0, where, g), bins, 1, heads)
        to_q, to_kv = torch.empty_like(q), k.new_empty(2, *k.shape)
        back_attend(through, (to_q, to_kv[0], to_kv[1]))
        asked_back = back_query(_joined_heads(to_q.unsqueeze(0), bins).index_select(0, where), below)
        dx = back_told(_joined_heads(to_kv, bins), below)
        return dx.index_add_(0, first, asked_back) if below else dx

    return _joined_heads(attended.unsqueeze(0), bins).index_select(0, where), back


def _places(first: np.ndarray, length: int) -> tuple[np.ndarray, int]:
    """Where each of some slots goes in a table of [bins, the most in a bin], flattened, and the width of the table."""
    order = np.argsort(first, kind="stable")
    owner = first[order] // length
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    queries = int(rank.max()) + 1
    place = np.empty(len(first), np.int64)
    place[order] = owner * queries + rank
    return place, queries
