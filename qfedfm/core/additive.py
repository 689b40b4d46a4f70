"""Codecs whose messages can be added up before they are decoded."""

from __future__ import annotations

import abc

import numpy as np
from jaxtyping import Float32, Int64

from qfedfm.core.parts import At, Codec, Law


class AdditiveCodec(Codec):
    """Vector to whole numbers with one step for all senders, so that sums of them decode: what a mask can cover.

    `real` of Σₖ wₖ qₖ is Σₖ wₖ C(xₖ) / Σₖ wₖ, the mean of what each would decode to, with one rounding to float32.
    """

    laws = Codec.laws | {Law.ADDITIVE}

    @property
    @abc.abstractmethod
    def bound(self) -> int:
        """The largest magnitude of a whole number, at least 1."""

    @abc.abstractmethod
    def integers(self, x: Float32[np.ndarray, " d"], at: At) -> Int64[np.ndarray, " d"]:
        """The whole numbers q of a vector. Refuses values that are not finite with `PayloadError`."""

    @abc.abstractmethod
    def real(self, total: Int64[np.ndarray, " d"], weight: int) -> Float32[np.ndarray, " d"]:
        """The vector of Σₖ wₖ qₖ, for ``weight`` = Σₖ wₖ."""
