"""A mask drawn with the probabilities that a client has learnt: a bit for each coordinate, or less."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32

from qfedfm.core.body import Reader
from qfedfm.core.distortion import Bounded, Distortion
from qfedfm.core.errors import PayloadError
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec, Law
from qfedfm.core.registry import part
from qfedfm.layers import _indices


@part("bernoulli-mask", paper="Isik et al., ICLR 2023, arXiv 2209.15328, algorithm 1")
@final
@dataclass(frozen=True)
class BernoulliMask(Codec):
    """x ↦ m − θᵗ with m ~ Bernoulli(θ) in each coordinate, where θ = θᵗ + x within [0, 1].

    θᵗ is the model that the client started from. It must be a vector of probabilities, as that of a masked task is.
    Then the mean of the updates and a step of the server by 1 give θᵗ⁺¹ = Σ wₖ mₖ: FedPM, with its prior reset in every
    round. Where the way down loses something, θᵗ is what clients have, and what was lost stays in the server's model.

    The body is the number of ones, in as many bytes as d needs, and the set of ones or of zeros, whichever is smaller:
    about the entropy of its density, which is no more than a bit a coordinate, and one byte.

    E C(x) = θ − θᵗ, up to 2⁻²⁴: x itself where θᵗ + x is a probability. Σ θ(1 − θ), the expected square of the error,
    is no multiple of ‖x‖², so that neither ω nor δ is stated. Without a model θᵗ is 0.

    Raises:
        PayloadError: a value is NaN or infinite, a length differs, or a body is not one of this codec.

    Differs from the paper: the set of ones is coded by its gaps, not by arithmetic coding of the bits; clients count
    by the weights of the mean; the Beta posterior that remembers earlier rounds is left out.

    Example:
        >>> import qfedfm as qf
        >>> at = At(0, 1, 0, qf.Key.of(0), Layout.of({"x": (4,)}), 1, np.float32([0.5, 0.5, 1, 0.25]))
        >>> codec, x = BernoulliMask(), np.float32([-0.5, 0.5, 0, 0.75])
        >>> (codec.decode(codec.encode(x, at), at) + at.model).tolist()
        [0.0, 1.0, 1.0, 1.0]
    """

    laws = Codec.laws - {Law.ROUND_TRIP}
    exempt = {Law.ROUND_TRIP: "the error is that of a drawn mask, however small the update"}  # noqa: RUF012
    needs_model = True

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        draws = at.key.fold("bernoulli-mask").numpy().random(at.layout.size, np.float32)
        ones = np.flatnonzero(draws < x.astype(np.float64) + _start(at))
        return len(ones).to_bytes(_width(at.layout.size), "little") + _indices.encode(ones, at.layout.size)

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        reader, size = Reader(body), at.layout.size
        count = int.from_bytes(reader.take(_width(size)), "little")
        if count > size:
            raise PayloadError(f"a mask of {count} ones", f"at most {size}")
        ones = _indices.decode(reader, count, size)
        reader.end()
        mask = np.zeros(size, np.float32)
        mask[ones] = 1
        return np.asarray(mask - _start(at), np.float32)

    def largest(self, layout: Layout) -> int:
        return _width(layout.size) + 1 + -(-layout.size // 8)

    def distortion(self, layout: Layout) -> Distortion:
        return Bounded(math.inf)


def _start(at: At) -> Float32[np.ndarray, " d"]:
    if at.model is None:
        return np.zeros(at.layout.size, np.float32)
    require_finite(at.model, at.layout)
    return at.model


def _width(size: int) -> int:
    """Bytes of the number of ones."""
    return -(-size.bit_length() // 8)
