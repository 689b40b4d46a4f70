"""EF21: only what changed since the last update is compressed."""

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


@part("ef21", paper="Richtárik, Sokolov & Fatkhullin, NeurIPS 2021, arXiv 2106.05203, algorithm 2")
@final
@dataclass(frozen=True)
class EF21(MemoryCodec):
    """sends c = C(x − g) and both sides keep g ← g + c, which is what the server takes for x; g starts at zero.

    g follows the client's update from round to round, and its error shrinks as fast as updates settle. The server
    remembers g of every client, d numbers each. An unbiased codec is scaled by 1/(1 + ω), as in `error-feedback`.

    Args:
        codec: C, by name or as a table of its name and options.

    Raises:
        ConfigError: the codec already feeds back its error.
        PayloadError: a value is NaN or infinite, the length differs, or g grows beyond float32.

    Differs from the paper: it follows updates of several local steps, not gradients; the first message is C(x), not x;
    a round aggregates the g of those who answered, not of all clients.
    """

    codec: CodecField

    feeds_back = True

    def __post_init__(self) -> None:
        check_fields(self)
        refuse_feedback(self, self.codec)

    def memory(self, layout: Layout) -> State:
        return {"followed": np.zeros(layout.size, np.float32), **self.codec.memory(layout)}

    def mirror(self, layout: Layout) -> State:
        return {"followed": np.zeros(layout.size, np.float32)}

    def send(self, x: Float32[np.ndarray, " d"], memory: State, at: At) -> tuple[bytes, State]:
        require_finite(x, at.layout)
        inner: State = {name: value for name, value in memory.items() if name != "followed"}
        change = bounded(x.astype(np.float64) - memory["followed"])
        body, inner = self.codec.send(change, inner, at)
        return body, {**inner, "followed": self.receive(body, memory, at)[0]}

    def receive(self, body: bytes | memoryview, mirror: State, at: At) -> tuple[Float32[np.ndarray, " d"], State]:
        change = contraction(self.codec, body, at)
        followed = bounded(mirror["followed"].astype(np.float64) + change)
        return followed, {"followed": followed}

    def largest(self, layout: Layout) -> int:
        return self.codec.largest(layout)

    def distortion(self, layout: Layout) -> Distortion:
        return contracted(self.codec, layout)
