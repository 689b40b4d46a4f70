"""Random-k: the coordinates that are sent are drawn by a key that both sides have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float32, Int64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Contractive, Distortion, Unbiased
from qfedfm.core.errors import ConfigError
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Layout
from qfedfm.core.nested import CodecField
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers._feedback import bounded, contraction
from qfedfm.layers._kept import FLOAT32, count, inside, refuse_memory, values_delta


@part("random-k", paper="Konečný et al., 2016, arXiv 1610.05492; Stich et al., NeurIPS 2018, arXiv 1809.07599")
@final
@dataclass(frozen=True)
class RandomK(Codec):
    """k = max(1, fraction · d, rounded) coordinates, each set of k as likely as any other; the others decode to zero.

    The indices come from the key of the round and the client, so that only values travel. ``unbiased`` multiplies by
    d/k: E C(x) = x and E‖C(x) − x‖² = (d/k − 1) ‖x‖². Without it E‖C(x) − x‖² = (1 − k/d) ‖x‖². Values through a codec
    with variance ω make that (1 + ω) d/k − 1 and 1 − k/d/(1 + ω), where they are scaled as in `error-feedback`.

    The body is that of the values.

    Args:
        fraction: k/d.
        unbiased: whether values are multiplied by d/k. Beyond float32 they are set to its largest number, so that those
            above k/d · 3.4e38 are biased.
        values: the codec of what is sent, by name or as a table of its name and options.

    Raises:
        ConfigError: a fraction outside of (0, 1], values through a codec that remembers earlier messages, or
            ``unbiased`` with values through a biased one.
        PayloadError: a value is NaN or infinite, or the length differs.

    Differs from the paper: Konečný et al. do not say whether what was masked is made up for; both forms are here.

    Example:
        >>> import qfedfm as qf
        >>> qf.layers.RandomK(fraction=0.25).distortion(qf.Layout.of({"x": (8,)}))
        Unbiased(omega=3.0)
    """

    fraction: Annotated[float, Field(gt=0, le=1)] = 0.1
    unbiased: bool = True
    values: CodecField = FLOAT32

    def __post_init__(self) -> None:
        check_fields(self)
        refuse_memory(self, self.values)
        one = Layout.of({"vector": (1,)})
        if self.unbiased and not isinstance(self.values.distortion(one), Unbiased):
            given = f"codec {self.name!r}: unbiased, with its values through the biased {self.values.name!r}"
            raise ConfigError(given, "an unbiased codec", "or set unbiased = false")

    def _sent(self, layout: Layout) -> Layout:
        """That of the values."""
        return Layout.of({"vector": (count(self.fraction, layout.size),)})

    def _indices(self, at: At, k: int) -> Int64[np.ndarray, " k"]:
        d, rng = at.layout.size, at.key.fold(self.name).numpy()
        most = 2 * k > d  # then those are drawn that stay at home
        chosen: np.ndarray = np.full(d, most)
        chosen[rng.choice(d, d - k if most else k, replace=False, shuffle=False)] = not most
        return np.flatnonzero(chosen)

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        sent = self._sent(at.layout)
        return self.values.encode(x[self._indices(at, sent.size)], inside(at, sent, self.name))

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        sent = self._sent(at.layout)
        x, place = np.zeros(at.layout.size, np.float32), inside(at, sent, self.name)
        indices = self._indices(at, sent.size)
        if self.unbiased:
            scale = at.layout.size / sent.size
            x[indices] = bounded(self.values.decode(body, place).astype(np.float64) * scale)
        else:
            x[indices] = contraction(self.values, body, place)
        return x

    def largest(self, layout: Layout) -> int:
        return self.values.largest(self._sent(layout))

    def distortion(self, layout: Layout) -> Distortion:
        sent = self._sent(layout)
        values, kept = self.values.distortion(sent), sent.size / layout.size
        if self.unbiased and isinstance(values, Unbiased):
            return Unbiased((1 + values.omega) / kept - 1)
        return Contractive(kept * values_delta(self.values, sent))
