"""Gradual magnitude pruning: what is sent of an update shrinks from round to round."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal, final

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Contractive, Distortion
from qfedfm.core.errors import ConfigError
from qfedfm.core.layout import Layout
from qfedfm.core.nested import CodecField
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers._kept import FLOAT32, refuse_memory
from qfedfm.layers.top_k import TopK


@part("magnitude-pruning", paper="Zhu & Gupta, 2017, arXiv 1710.01878, equation 1")
@final
@dataclass(frozen=True)
class MagnitudePruning(Codec):
    """`top-k` whose fraction falls with the round t: final + (initial − final) (1 − (t − begin)/(end − begin))³.

    Before ``begin`` it is ``initial``, from ``end`` on ``final``. Most is pruned early, while updates are large and
    have much to spare. The bound is the weakest of all rounds, δ = ``final`` where values are exact.

    Args:
        initial: the fraction that is kept at first.
        final: the fraction that is kept in the end.
        begin: the last round with ``initial``; the first of a run is 1.
        end: the first round with ``final``.
        per: one k for the whole vector, or one for each tensor.
        values: the codec of what is sent, by name or as a table of its name and options.

    Raises:
        ConfigError: fractions outside of (0, 1], ``final`` above ``initial``, ``end`` not after ``begin``, or values
            through a codec that remembers earlier messages.
        PayloadError: a value is NaN or infinite, or the length differs.

    Differs from the paper: it prunes updates, not weights, so that what is left out in one round may be sent in the
    next; the fraction that is kept stands for 1 − s, s being the paper's sparsity.

    Example:
        >>> [round(MagnitudePruning(1.0, 0.2, 1, 5).fraction(t), 4) for t in range(1, 7)]
        [1.0, 0.5375, 0.3, 0.2125, 0.2, 0.2]
    """

    initial: Annotated[float, Field(gt=0, le=1)] = 1.0
    final: Annotated[float, Field(gt=0, le=1)] = 0.1
    begin: Annotated[int, Field(ge=0)] = 1
    end: Annotated[int, Field(ge=1)] = 10
    per: Literal["vector", "tensor"] = "vector"
    values: CodecField = FLOAT32

    def __post_init__(self) -> None:
        check_fields(self)
        refuse_memory(self, self.values)
        if self.final > self.initial:
            raise ConfigError(f"codec {self.name!r}: final = {self.final}", f"at most initial, {self.initial}")
        if self.end <= self.begin:
            raise ConfigError(f"codec {self.name!r}: end = {self.end}", f"a round after begin, {self.begin}")

    def fraction(self, round_: int) -> float:
        """What is kept in that round."""
        left = 1 - (round_ - self.begin) / (self.end - self.begin)
        return self.final + (self.initial - self.final) * min(max(left, 0.0), 1.0) ** 3

    def at_round(self, round_: int) -> TopK:
        """The codec of that round."""
        return TopK(self.fraction(round_), self.per, self.values)

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        return self.at_round(at.round).encode(x, at)

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        return self.at_round(at.round).decode(body, at)

    def largest(self, layout: Layout) -> int:
        return _worst(self, layout)[0]

    def distortion(self, layout: Layout) -> Distortion:
        return Contractive(_worst(self, layout)[1])


@lru_cache(maxsize=64)
def _worst(codec: MagnitudePruning, layout: Layout) -> tuple[int, float]:
    """The longest body and the least δ of all rounds; neither need be that of the first or the last."""
    rounds = [codec.at_round(round_) for round_ in range(codec.begin, codec.end + 1)]
    return max(top.largest(layout) for top in rounds), min(top.distortion(layout).delta for top in rounds)
