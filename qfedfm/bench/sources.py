"""The vectors that codecs are measured on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At

GAUSSIAN, STUDENT, LORA = "Gaussian", "Student t, 3 degrees", "LoRA updates"
SOURCES = (GAUSSIAN, STUDENT, LORA)
DIMENSION = 2**18
_VECTORS, _SHAPES = "updates.npy", "layout.json"


@dataclass(frozen=True)
class Source:
    """A supply of vectors of one layout.

    Args:
        name: of `SOURCES`.
        layout: of its vectors.
        recorded: the vectors themselves where they are not drawn.
    """

    name: str
    layout: Layout
    recorded: Float32[np.ndarray, "n d"] | None = None

    @classmethod
    def of(cls, name: str, folder: str | Path, size: int = DIMENSION) -> Source:
        """The source of a name.

        Args:
            name: of `SOURCES`.
            folder: where `record` has put the updates of a run.
            size: coordinates of a vector that is drawn.
        """
        if name != LORA:
            return cls(name, Layout.of({"x": (size,)}))
        shapes = json.loads((Path(folder) / _SHAPES).read_text(encoding="utf-8"))
        return cls(name, Layout.of({key: tuple(shape) for key, shape in shapes}), np.load(Path(folder) / _VECTORS))

    def vector(self, draw: int) -> Float32[np.ndarray, " d"]:
        """The vector of a draw, of mean square 1 at least roughly: NNADQ alone depends on the scale."""
        if self.recorded is not None:
            x = self.recorded[draw % len(self.recorded)]
            return np.asarray(x * np.float32(np.sqrt(x.size) / np.linalg.norm(x)))
        rng = Key.of(7).fold(self.name, draw).numpy()
        if self.name == GAUSSIAN:
            return np.asarray(rng.standard_normal(self.layout.size, dtype=np.float32))
        return np.asarray(rng.standard_t(3, self.layout.size) / np.sqrt(3), np.float32)

    def at(self, draw: int) -> At:
        """Where a codec is at a draw: the key is another one each time, so that the codec's own randomness is."""
        return At(1, draw + 1, 0, Key.of(11).fold(self.name, draw), self.layout, 1)


def record(folder: str | Path, layout: Layout, updates: Sequence[Float32[np.ndarray, " d"]]) -> None:
    """Keeps the updates of a run, for the sides of a benchmark to read."""
    np.save(Path(folder) / _VECTORS, np.stack(updates))
    shapes = [[entry.name, entry.shape] for entry in layout]
    (Path(folder) / _SHAPES).write_text(json.dumps(shapes), encoding="utf-8")
