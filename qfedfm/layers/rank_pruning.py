"""Structured pruning of LoRA updates: whole rank-one components are sent or left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, final

import numpy as np
from jaxtyping import Float32, Float64, Int64
from pydantic import Field

from qfedfm.core.body import Reader
from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Contractive, Distortion
from qfedfm.core.errors import PayloadError
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Entry, Layout
from qfedfm.core.nested import CodecField
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers import _indices
from qfedfm.layers._feedback import contraction
from qfedfm.layers._kept import FLOAT32, inside, largest, refuse_memory, values_delta


@part("rank-pruning", paper="Cho et al., EMNLP 2024, arXiv 2401.06432")
@final
@dataclass(frozen=True)
class RankPruning(Codec):
    """Of each LoRA pair the ``rank`` components with the largest ‖ΔAᵢ‖² + ‖ΔBᵢ‖²; all other tensors go whole.

    Component i is row i of ΔA (r × in) and column i of ΔB (out × r). One that is left out stays as it was in the
    model, so that its term bᵢaᵢᵀ of the product does not change. With rank' = min(rank, r) of r kept in each pair,
    ‖C(x) − x‖² ≤ (1 − rank'/r) ‖x‖², the r of the pair that loses most; values through a codec that is contractive with
    δ make that δ rank'/r.

    The sum, not the product ‖ΔAᵢ‖ ‖ΔBᵢ‖, which is the right measure of a whole adapter: the change of the product is
    bᵢΔaᵢᵀ + Δbᵢaᵢᵀ + ΔbᵢΔaᵢᵀ, whose first two terms do not vanish with one of the factors (in the first round ΔA is
    nearly zero as B is). Nor is there a bound with it.

    The body is the set of the components of all pairs (`_indices`), then the body of the values: the tensors in their
    order, those of pairs as rank' × in and out × rank'.

    Args:
        rank: the components that are kept of each pair.
        values: the codec of what is sent, by name or as a table of its name and options.

    Raises:
        ConfigError: a rank below 1, or values through a codec that remembers earlier messages.
        PayloadError: a value is NaN or infinite, the length differs, or a body has other numbers of components.

    Differs from the paper: it prunes the update that is sent, not the client's adapter, and so by the update's own
    energy, anew in each round, where the paper truncates the last ranks of an adapter, whose norms have shrunk in
    training.

    Example:
        >>> import qfedfm as qf
        >>> layout = qf.Layout.of({"q.lora_A.weight": (8, 384), "q.lora_B.weight": (384, 8), "head.bias": (3,)})
        >>> qf.layers.RankPruning(rank=2).distortion(layout)
        Contractive(delta=0.25)
    """

    rank: Annotated[int, Field(ge=1)] = 4
    values: CodecField = FLOAT32

    def __post_init__(self) -> None:
        check_fields(self)
        refuse_memory(self, self.values)

    def _kept(self, layout: Layout) -> list[int]:
        """The number of components that is sent of each pair."""
        return [min(self.rank, rank) for rank in _ranks(layout)]

    def _sent(self, layout: Layout) -> Layout:
        """That of the values."""
        shapes = {entry.name: entry.shape for entry in layout}
        for (a, b), kept in zip(_pairs(layout), self._kept(layout), strict=True):
            shapes[a.name], shapes[b.name] = (kept, a.shape[1]), (b.shape[0], kept)
        return Layout.of(shapes)

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        sent, ranks, kept = self._sent(at.layout), _ranks(at.layout), self._kept(at.layout)
        tensors = at.layout.unpack(x)
        chosen = largest(_energies(tensors, at.layout), ranks, kept)
        cut = {name: tensors[name][place] for name, place in _places(chosen, kept, at.layout).items()}
        body = self.values.encode(sent.pack(tensors | cut), inside(at, sent, self.name))
        return _indices.encode(chosen, sum(ranks)) + body

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        reader, sent, kept = Reader(body), self._sent(at.layout), self._kept(at.layout)
        places = _places(_indices.decode(reader, sum(kept), sum(_ranks(at.layout))), kept, at.layout)
        values = contraction(self.values, reader.rest(), inside(at, sent, self.name))
        x = np.zeros(at.layout.size, np.float32)
        tensors = at.layout.unpack(x)
        for name, tensor in sent.unpack(values).items():
            tensors[name][places.get(name, ...)] = tensor
        return x

    def largest(self, layout: Layout) -> int:
        components = _indices.largest(sum(self._kept(layout)), sum(_ranks(layout)))
        return components + self.values.largest(self._sent(layout))

    def distortion(self, layout: Layout) -> Distortion:
        shares = [kept / rank for kept, rank in zip(self._kept(layout), _ranks(layout), strict=True)]
        return Contractive(min(shares, default=1.0) * values_delta(self.values, self._sent(layout)))


def _pairs(layout: Layout) -> list[tuple[Entry, Entry]]:
    return [(a, b) for a, b in layout.lora_pairs if a.shape[0] == b.shape[1]]


def _ranks(layout: Layout) -> list[int]:
    return [a.shape[0] for a, _ in _pairs(layout)]


def _energies(tensors: Mapping[str, np.ndarray], layout: Layout) -> Float64[np.ndarray, " components"]:
    """‖ΔAᵢ‖² + ‖ΔBᵢ‖² of all components of all pairs."""
    found: list[np.ndarray] = [np.zeros(0)]
    for a, b in _pairs(layout):
        A, B = tensors[a.name].astype(np.float64), tensors[b.name].astype(np.float64)
        found.append(np.einsum("ri,ri->r", A, A) + np.einsum("or,or->r", B, B))
    return np.concatenate(found)


def _places(chosen: Int64[np.ndarray, " k"], kept: list[int], layout: Layout) -> dict[str, Any]:
    """Where in A and in B the chosen components of each pair are.

    Raises:
        PayloadError: other numbers of components are chosen than are kept.
    """
    ends = np.cumsum([0, *_ranks(layout)])
    cuts = np.searchsorted(chosen, ends)
    if np.diff(cuts).tolist() != kept:
        raise PayloadError(f"{np.diff(cuts).tolist()} components of the LoRA pairs", f"{kept}")
    found: dict[str, Any] = {}
    for number, (a, b) in enumerate(_pairs(layout)):
        own = chosen[cuts[number] : cuts[number + 1]] - ends[number]
        found[a.name], found[b.name] = own, (slice(None), own)
    return found
