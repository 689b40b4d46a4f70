"""Top-k: only the largest coordinates are sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, final

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from qfedfm.core.body import Reader
from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Contractive
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Layout
from qfedfm.core.nested import CodecField
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers import _indices
from qfedfm.layers._feedback import contraction
from qfedfm.layers._kept import FLOAT32, count, inside, largest, refuse_memory, values_delta


@part("top-k", paper="Aji & Heafield, EMNLP 2017, arXiv 1704.05021; Stich et al., NeurIPS 2018, arXiv 1809.07599")
@final
@dataclass(frozen=True)
class TopK(Codec):
    """The k = max(1, fraction · d, rounded) coordinates of largest magnitude; the others decode to zero.

    ‖C(x) − x‖² ≤ (1 − k/d) ‖x‖², with equality where all magnitudes are equal. Among equal ones the first are sent.
    The indices take about log₂ (d over k) bits. A codec of the values that is contractive with δ makes it δ k/d; one
    that is unbiased is scaled to a contraction, as in `error-feedback`, which belongs around this codec.

    The body is the set of indices (`_indices`), then the body of the values.

    Args:
        fraction: k/d.
        per: one k for the whole vector, or one for each tensor.
        values: the codec of what is sent, by name or as a table of its name and options: ``"bfloat16"`` for half the
            bytes, one with a bit each for their signs.

    Raises:
        ConfigError: a fraction outside of (0, 1], or values through a codec that remembers earlier messages.
        PayloadError: a value is NaN or infinite, or the length differs.

    Differs from the paper: the threshold is exact, not estimated from a sample (Aji & Heafield); memory is left to
    `error-feedback` (Stich et al. have it in the method).

    Example:
        >>> import qfedfm as qf
        >>> qf.layers.TopK(fraction=0.25).distortion(qf.Layout.of({"x": (8,)}))
        Contractive(delta=0.25)
    """

    fraction: Annotated[float, Field(gt=0, le=1)] = 0.01
    per: Literal["vector", "tensor"] = "vector"
    values: CodecField = FLOAT32

    def __post_init__(self) -> None:
        check_fields(self)
        refuse_memory(self, self.values)

    def _sizes(self, layout: Layout) -> dict[str, int]:
        if self.per == "vector":
            return {"vector": layout.size}
        return {entry.name: entry.stop - entry.start for entry in layout}

    def _sent(self, layout: Layout) -> Layout:
        """That of the values."""
        return Layout.of({name: (count(self.fraction, size),) for name, size in self._sizes(layout).items()})

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        sent = self._sent(at.layout)
        counts = [entry.stop - entry.start for entry in sent]
        indices = largest(np.abs(x), [*self._sizes(at.layout).values()], counts)
        body = self.values.encode(x[indices], inside(at, sent, self.name))
        return _indices.encode(indices, at.layout.size) + body

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        reader, sent = Reader(body), self._sent(at.layout)
        indices = _indices.decode(reader, sent.size, at.layout.size)
        x = np.zeros(at.layout.size, np.float32)
        x[indices] = contraction(self.values, reader.rest(), inside(at, sent, self.name))
        return x

    def largest(self, layout: Layout) -> int:
        sent = self._sent(layout)
        return _indices.largest(sent.size, layout.size) + self.values.largest(sent)

    def distortion(self, layout: Layout) -> Contractive:
        sent = self._sent(layout)
        sizes = self._sizes(layout).values()
        kept = min((entry.stop - entry.start) / size for entry, size in zip(sent, sizes, strict=True))
        return Contractive(kept * values_delta(self.values, sent))
