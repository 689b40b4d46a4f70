"""What error feedback and EF21 share."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from qfedfm.core.distortion import Bounded, Contractive, Unbiased
from qfedfm.core.errors import ConfigError
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec

_LARGEST = float(np.finfo(np.float32).max)


def refuse_feedback(outer: Codec, inner: Codec) -> None:
    """Refuses error feedback within error feedback.

    Raises:
        ConfigError: the inner codec feeds back its error itself.
    """
    if inner.feeds_back:
        raise ConfigError(f"codec {outer.name!r} around {inner.name!r}", "one error feedback", "use one of the two")


def contraction(codec: Codec, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
    """What the receiver makes of the body of a contractive codec; of an unbiased one, scaled by 1/(1 + ω)."""
    x, found = codec.decode(body, at), codec.distortion(at.layout)
    return x * np.float32(found.delta) if isinstance(found, Unbiased) and found.omega else x


def contracted(codec: Codec, layout: Layout) -> Contractive | Bounded:
    """How far `contraction` may be from what was sent."""
    found = codec.distortion(layout)
    return found if isinstance(found, Bounded) else Contractive(found.delta)


def bounded(x: np.ndarray) -> Float32[np.ndarray, " d"]:
    """As float32, with what lies beyond its range at its ends."""
    return np.asarray(np.clip(x, -_LARGEST, _LARGEST), np.float32)
