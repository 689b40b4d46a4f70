"""The codec of a stack that names none: every coordinate as a little-endian float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32

from qfedfm.core.distortion import Distortion, Unbiased
from qfedfm.core.errors import PayloadError
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part


def require_finite(x: Float32[np.ndarray, " d"], layout: Layout) -> None:
    """Refuses a vector that is not finite or has another length than the layout.

    Raises:
        PayloadError: the length differs, or a value is NaN or infinite (the tensor that holds it is named).
    """
    if x.shape != (layout.size,):
        raise PayloadError(f"an update of shape {x.shape}", f"({layout.size},)")
    finite = np.isfinite(x)
    if not finite.all():
        first = int(np.argmin(finite))
        name = next(entry.name for entry in layout if first < entry.stop)
        raise PayloadError(f"{x[first]} at coordinate {first} ({name})", "finite numbers only")


@part("float32", paper="IEEE 754-2019, binary32")
@final
@dataclass(frozen=True)
class Float32Codec(Codec):
    """decode(encode(x)) = x exactly; 4·d bytes."""

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        return x.astype("<f4", copy=False).tobytes()

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        if len(body) != 4 * at.layout.size:
            raise PayloadError(f"a float32 body of {len(body)} bytes", f"{4 * at.layout.size}")
        x = np.frombuffer(body, "<f4").astype(np.float32, copy=False)
        require_finite(x, at.layout)
        return x

    def largest(self, layout: Layout) -> int:
        return 4 * layout.size

    def distortion(self, layout: Layout) -> Distortion:
        return Unbiased(0.0)
