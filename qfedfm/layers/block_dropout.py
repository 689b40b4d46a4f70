"""FedOBD's opportunistic block dropout: only the blocks that changed most are sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Bool, Float32
from pydantic import Field

from qfedfm.core.body import Reader
from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Bounded, Contractive, Distortion, Unbiased
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.float32 import require_finite
from qfedfm.core.layout import Entry, Layout
from qfedfm.core.nested import CodecField
from qfedfm.core.parts import At, Codec
from qfedfm.core.registry import part
from qfedfm.layers._kept import FLOAT32, inside, refuse_remembering
from qfedfm.layers._packing import pack, packed_length, unpack


@part("block-dropout", paper="Chen et al., IJCAI 2023, arXiv 2208.05174, section 3.2 and algorithm 2")
@final
@dataclass(frozen=True)
class BlockDropout(Codec):
    """The semantic blocks of largest importance, as many as fit into the kept share of the coordinates.

    The importance of block b is ‖x_b‖₂ / d_b, the length of its change over the number of its coordinates. Blocks are
    taken from the most important one on, each where it still fits into keep · d coordinates; the first is always taken.
    Blocks that are not sent count as unchanged: the server's mean goes over all clients, with zeros for them. A block
    is a transformer layer with its adapters, a module of a head, or whatever else `Layout.blocks` finds.

    The body is a bit for each block, and what the codec makes of the kept ones as a layout of their own.

    Args:
        keep: the largest share of the coordinates that is sent, 1 − λ for the paper's dropout rate λ.
        values: the codec of what is sent, by name or as a table of its name and options: ``nnadq`` in FedOBD.

    Raises:
        ConfigError: a share outside of (0, 1], or values through a codec that remembers earlier messages.
        PayloadError: a value is NaN or infinite, the length differs, or a body is not one of this codec.

    Differs from the paper: the paper's budget counts the bytes of whole models and always leaves out what does not fit;
    here a first block that is larger than the budget is sent all the same, so that no update is empty.

    Example:
        >>> layout = Layout.of({"layer.0.w": (4,), "layer.1.w": (4,)})
        >>> x = np.array([1, 1, 1, 1, 2, 2, 2, 2], np.float32)
        >>> import qfedfm as qf
        >>> at = At(0, 1, 0, qf.Key.of(0), layout, 1)
        >>> codec = BlockDropout(keep=0.5)
        >>> codec.decode(codec.encode(x, at), at).tolist()
        [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0]
    """

    keep: Annotated[float, Field(gt=0, le=1)] = 0.7
    values: CodecField = FLOAT32

    def __post_init__(self) -> None:
        check_fields(self)
        refuse_remembering(self, self.values)

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        kept = self._kept(x, at.layout)
        entries = _entries(at.layout, kept)
        values = np.concatenate([x[entry.start : entry.stop] for entry in entries])
        return pack(kept.astype(np.uint8), 1) + self.values.encode(values, inside(at, _layout(entries), self.name))

    def _kept(self, x: Float32[np.ndarray, " d"], layout: Layout) -> Bool[np.ndarray, " b"]:
        blocks = list(layout.blocks.values())
        sizes = np.array([sum(entry.stop - entry.start for entry in block) for block in blocks])
        squares = np.array([sum(_square(x, entry) for entry in block) for block in blocks])
        room, kept = self.keep * layout.size, np.zeros(len(blocks), bool)
        for block in np.argsort(-np.sqrt(squares) / sizes, kind="stable").tolist():
            if sizes[block] <= room or not kept.any():
                kept[block] = True
                room -= sizes[block]
        return kept

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        reader = Reader(body)
        kept = unpack(reader, 1, len(at.layout.blocks)).astype(bool)
        if not kept.any():
            raise PayloadError("an update without blocks", "at least one")
        entries = _entries(at.layout, kept)
        values = self.values.decode(reader.rest(), inside(at, _layout(entries), self.name))
        x, start = np.zeros(at.layout.size, np.float32), 0
        for entry in entries:
            stop = start + entry.stop - entry.start
            x[entry.start : entry.stop], start = values[start:stop], stop
        return x

    def largest(self, layout: Layout) -> int:
        return packed_length(1, len(layout.blocks)) + self.values.largest(layout)

    def distortion(self, layout: Layout) -> Distortion:
        found = self.values.distortion(layout)
        if isinstance(found, Bounded):
            return Bounded(max(1.0, found.rho))
        if isinstance(found, Unbiased) and found.omega > 1:
            given = f"codec {self.name!r} with its values through {self.values.name!r}, of ω = {found.omega:.3g}"
            raise ConfigError(given, "an unbiased codec of ω up to 1", "take a finer one, or a biased one")
        return Contractive(0.0)


def _square(x: Float32[np.ndarray, " d"], entry: Entry) -> float:
    values = x[entry.start : entry.stop].astype(np.float64)
    return float(values @ values)


def _entries(layout: Layout, kept: Bool[np.ndarray, " b"]) -> list[Entry]:
    """The tensors of the kept blocks, in the order of the layout."""
    names = {entry.name for block, sent in zip(layout.blocks.values(), kept, strict=True) if sent for entry in block}
    return [entry for entry in layout if entry.name in names]


def _layout(entries: list[Entry]) -> Layout:
    return Layout.of({entry.name: entry.shape for entry in entries})
