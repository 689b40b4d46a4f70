"""Fixed point: every coordinate as a whole number of steps that are the same for all clients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, final

import numpy as np
from jaxtyping import Float32, Int64
from pydantic import Field

from qfedfm.core.additive import AdditiveCodec
from qfedfm.core.body import Reader
from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Bounded, Distortion
from qfedfm.core.errors import PayloadError
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At
from qfedfm.core.registry import part
from qfedfm.layers._packing import pack, packed_length, unpack


@part("fixed-point", paper="Bonawitz et al., Asilomar 2019, arXiv 1912.00131, section 3")
@final
@dataclass(frozen=True)
class FixedPoint(AdditiveCodec):
    """q = round(clip(x, −R, R) / s), |q| ≤ B = 2^(bits−1) − 1, with the step s = R/B; C(x) = s · q.

    |C(x) − clip(x, −R, R)| is below s with stochastic rounding, which is unbiased within ±R, and at most s/2 with
    nearest. What lies beyond ±R is sent as ±R: clip updates, so that R bounds their coordinates.

    Args:
        reach: R, in units of the update.
        bits: of a whole number with its sign.
        rounding: ``stochastic``, up with the probability of the fraction, or ``nearest``.

    Raises:
        ConfigError: an option is out of range.
        PayloadError: a value is NaN or infinite, the length differs, or a body is not one of this codec.

    Differs from the paper: no rotation before it (a vector layer can do that) and a step that is fixed beforehand, not
    chosen for each sum; saturation in the place of wrapping around.

    Example:
        >>> FixedPoint(reach=1.0, bits=3).bound
        3
    """

    reach: Annotated[float, Field(gt=0, le=3e38)]
    bits: Annotated[int, Field(ge=2, le=32)] = 16
    rounding: Literal["stochastic", "nearest"] = "stochastic"

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def bound(self) -> int:
        return int(2 ** (self.bits - 1) - 1)

    @property
    def step(self) -> float:
        """S."""
        return self.reach / self.bound

    def integers(self, x: Float32[np.ndarray, " d"], at: At) -> Int64[np.ndarray, " d"]:
        require_finite(x, at.layout)
        steps = np.clip(x.astype(np.float64), -self.reach, self.reach) / self.step
        if self.rounding == "stochastic":
            steps = np.floor(steps + at.key.fold(self.name).numpy().random(len(x)))
        return np.clip(np.rint(steps), -self.bound, self.bound).astype(np.int64)

    def real(self, total: Int64[np.ndarray, " d"], weight: int) -> Float32[np.ndarray, " d"]:
        return np.asarray(total * (self.step / weight), np.float32)

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        return pack(self.integers(x, at) + self.bound, self.bits)

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        reader = Reader(body)
        found = unpack(reader, self.bits, at.layout.size)
        reader.end()
        if found.max() > 2 * self.bound:
            raise PayloadError(f"a whole number of {int(found.max()) - self.bound}", f"at most {self.bound}")
        return self.real(found.astype(np.int64) - self.bound, 1)

    def largest(self, layout: Layout) -> int:
        return packed_length(self.bits, layout.size)

    def distortion(self, layout: Layout) -> Distortion:
        """Relative to the largest coordinate; nothing is known with stochastic rounding, whose error is absolute."""
        return Bounded(1.0 if self.rounding == "nearest" else math.inf)
