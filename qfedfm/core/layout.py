"""Where each adapter tensor lies inside the one flat vector that travels."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from qfedfm.core.errors import DataError

_BLOCK = re.compile(r"^(.*?\b(?:layers?|h|blocks?)\.\d+)\.")
_LORA = re.compile(r"^(.*)\.lora_(A|B)\b(.*)$")
_ADAPTED = re.compile(r"^(.*?)\.lora_")


@dataclass(frozen=True)
class Entry:
    """One tensor of the layout: its name, its shape, and the half-open range that it takes in the vector."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Layout:
    """Names, shapes and offsets of the tensors of an adapter inside one float32 vector of length ``size``.

    The order is the one given and is part of the identity: two layouts are the same when their ``digest`` is.

    Example:
        >>> layout = Layout.of({"head.weight": (3, 2), "head.bias": (3,)})
        >>> layout.size, [entry.start for entry in layout]
        (9, [0, 6])
    """

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]]) -> Layout:
        """A layout of tensors in the order of the mapping.

        Raises:
            DataError: there is no tensor, or an axis is shorter than one.
        """
        entries, start = [], 0
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            if any(axis < 1 for axis in shape):
                raise DataError(f"tensor {name!r} of shape {tuple(shape)}", "axes of at least one element")
            entries.append(Entry(name, tuple(int(axis) for axis in shape), start, stop))
            start = stop
        if not entries:
            raise DataError(
                "an adapter without trainable tensors", "at least one", "name target_modules or train the head"
            )
        return cls(tuple(entries))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @cached_property
    def size(self) -> int:
        """Length of the vector."""
        return self.entries[-1].stop

    @cached_property
    def digest(self) -> bytes:
        """Eight bytes that stand for names, shapes and order (SHA-256, truncated)."""
        text = json.dumps([[entry.name, entry.shape] for entry in self.entries])
        return hashlib.sha256(text.encode()).digest()[:8]

    def pack(self, tensors: Mapping[str, np.ndarray]) -> Float32[np.ndarray, " d"]:
        """The tensors as one vector.

        Raises:
            DataError: a tensor is missing, unknown or of another shape.
        """
        unknown = set(tensors) - {entry.name for entry in self.entries}
        if unknown:
            raise DataError(f"tensor {min(unknown)!r}", "the names of the layout")
        vector = np.empty(self.size, np.float32)
        for entry in self.entries:
            tensor = tensors.get(entry.name)
            if tensor is None or tuple(tensor.shape) != entry.shape:
                found = "nothing" if tensor is None else f"shape {tuple(tensor.shape)}"
                raise DataError(f"{found} for tensor {entry.name!r}", f"shape {entry.shape}")
            vector[entry.start : entry.stop] = np.asarray(tensor, np.float32).reshape(-1)
        return vector

    def unpack(self, vector: Float32[np.ndarray, " d"]) -> dict[str, np.ndarray]:
        """Views of the vector, one for each tensor, in its own shape."""
        if vector.shape != (self.size,):
            raise DataError(f"a vector of shape {vector.shape}", f"({self.size},)")
        return {entry.name: vector[entry.start : entry.stop].reshape(entry.shape) for entry in self.entries}

    @cached_property
    def lora_pairs(self) -> tuple[tuple[Entry, Entry], ...]:
        """The pairs (A, B) of the LoRA modules: A is r × in, B is out × r, the product B·A as large as the module."""
        found: dict[str, dict[str, Entry]] = {}
        for entry in self.entries:
            match = _LORA.match(entry.name)
            if match and len(entry.shape) == 2:
                found.setdefault(match[1] + match[3], {})[match[2]] = entry
        return tuple((pair["A"], pair["B"]) for pair in found.values() if len(pair) == 2)

    @cached_property
    def blocks(self) -> dict[str, tuple[Entry, ...]]:
        """Semantic blocks: the tensors of one transformer layer together, each other module (a head) by itself."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            match = _BLOCK.match(entry.name)
            found.setdefault(match[1] if match else entry.name.rpartition(".")[0], []).append(entry)
        return {name: tuple(entries) for name, entries in found.items()}

    @cached_property
    def modules(self) -> dict[str, tuple[Entry, ...]]:
        """The tensors of one module together: those of one LoRA layer (A, B, magnitudes), or weight and bias of a head.

        Example:
            >>> names = ("q.lora_A.weight", "q.lora_B.weight", "head.weight", "head.bias")
            >>> {name: len(tensors) for name, tensors in Layout.of(dict.fromkeys(names, (2, 2))).modules.items()}
            {'q': 2, 'head': 2}
        """
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            match = _ADAPTED.match(entry.name)
            found.setdefault(match[1] if match else entry.name.rpartition(".")[0], []).append(entry)
        return {name: tuple(entries) for name, entries in found.items()}
