"""TernGrad: every coordinate as −1, 0 or 1 times the largest magnitude of its tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32

from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Distortion
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers._levels import Coding
from qfedfm.layers.qsgd import Qsgd


@part("terngrad", paper="Wen et al., NeurIPS 2017, arXiv 1705.07878")
@final
@dataclass(frozen=True)
class Terngrad(Codec):
    """xᵢ ↦ m · sign(xᵢ) · bᵢ with m = max|x| of the tensor and bᵢ = 1 with probability |xᵢ|/m, else 0.

    Unbiased, with E‖C(x) − x‖² = m ‖x‖₁ − ‖x‖₂² for each tensor, which is at most ω ‖x‖₂² with ω = (√n − 1)/2 for the
    largest tensor, of n coordinates; a tensor whose others are 1/(√n + 1) of the largest one attains it.

    It is QSGD of one level scaled by the maximum, with tensors for buckets, and has its body: a float32 for each
    tensor, one bit for each coordinate, and one more for each that is not zero.

    Args:
        coding: ``planes``, between 1 and 2 bits for a coordinate, or ``entropy``, at most 1.58.

    Raises:
        ConfigError: an option is out of range.
        PayloadError: a value is NaN or infinite, the length differs, or a body is not one of this codec.

    Differs from the paper: no clipping to 2.5 standard deviations, which would make it biased (put `clip` in front to
    bound the norm); each client scales by its own maximum, where the paper's workers share the largest of all.

    Example:
        >>> Terngrad().distortion(Layout.of({"x": (9,), "y": (3, 3)}))
        Unbiased(omega=1.0)
    """

    coding: Coding = "planes"

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def _levels(self) -> Qsgd:
        return Qsgd(norm="linf", levels=1, bucket="tensor", coding=self.coding)

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        return self._levels.encode(x, at)

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        return self._levels.decode(body, at)

    def largest(self, layout: Layout) -> int:
        return self._levels.largest(layout)

    def distortion(self, layout: Layout) -> Distortion:
        return self._levels.distortion(layout)
