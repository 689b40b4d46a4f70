"""Error feedback: what a codec left out of one update is added to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32

from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import State
from qfedfm.core.distortion import Distortion
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Layout
from qfedfm.core.nested import CodecField
from qfedfm.core.parts import At, MemoryCodec
from qfedfm.core.registry import part
from qfedfm.layers._feedback import bounded, contracted, contraction, refuse_feedback


@part("error-feedback", paper="Karimireddy et al., ICML 2019, arXiv 1901.09847, algorithm 2; Seide et al., 2014")
@final
@dataclass(frozen=True)
class ErrorFeedback(MemoryCodec):
    """sends c = C(x + e), and keeps e ← x + e − c for the client's next update; e starts at zero.

    What biased codecs need to converge: all that was left out is sent some day. A codec that is unbiased with variance
    ω is scaled to c = C(x + e)/(1 + ω), which makes a contraction of it with δ = 1/(1 + ω); unscaled, e grows without
    bound from ω = 1 on. Error feedback around an unbiased codec pays only while ω is well below 1.

    Args:
        codec: C, by name or as a table of its name and options.

    Raises:
        ConfigError: the codec already feeds back its error.
        PayloadError: a value is NaN or infinite, or the length differs.

    Differs from the paper: it feeds back updates of several local steps, not gradients times a rate, so that a rate
    that changes does not rescale e; an update that the server did not accept leaves e as it was.
    """

    codec: CodecField

    feeds_back = True

    def __post_init__(self) -> None:
        check_fields(self)
        refuse_feedback(self, self.codec)

    def memory(self, layout: Layout) -> State:
        return {"error": np.zeros(layout.size, np.float32), **self.codec.memory(layout)}

    def send(self, x: Float32[np.ndarray, " d"], memory: State, at: At) -> tuple[bytes, State]:
        require_finite(x, at.layout)
        inner: State = {name: value for name, value in memory.items() if name != "error"}
        wanted = bounded(x.astype(np.float64) + memory["error"])
        body, inner = self.codec.send(wanted, inner, at)
        sent = contraction(self.codec, body, at)
        return body, {**inner, "error": bounded(wanted.astype(np.float64) - sent)}

    def receive(self, body: bytes | memoryview, mirror: State, at: At) -> tuple[Float32[np.ndarray, " d"], State]:
        return contraction(self.codec, body, at), mirror

    def largest(self, layout: Layout) -> int:
        return self.codec.largest(layout)

    def distortion(self, layout: Layout) -> Distortion:
        return contracted(self.codec, layout)
