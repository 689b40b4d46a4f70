"""What codecs that send some of the coordinates share: how many, which, and how those that are sent travel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int64

from qfedfm.core.distortion import Bounded
from qfedfm.core.errors import ConfigError
from qfedfm.core.float32 import Float32Codec
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec, MemoryCodec

FLOAT32 = Float32Codec()
"""What values go through where nothing else is asked for."""


def count(fraction: float, size: int) -> int:
    """max(1, fraction · size, rounded)."""
    return max(1, round(fraction * size))


def largest(
    magnitudes: Float[np.ndarray, " d"], sizes: Sequence[int], counts: Sequence[int]
) -> Int64[np.ndarray, " k"]:
    """Where the largest are, ascending: of the first ``sizes[0]`` the ``counts[0]`` largest, and so on.

    Among equal ones the first are taken.

    Example:
        >>> largest(np.array([1.0, 3, 2, 2, 5]), [4, 1], [2, 1]).tolist()
        [1, 2, 4]
    """
    starts = np.cumsum([0, *sizes])[:-1]
    thresholds = _thresholds(magnitudes, starts, sizes, counts)
    least = np.repeat(thresholds, sizes)
    chosen = magnitudes > least
    missing = counts - np.add.reduceat(chosen, starts, dtype=np.int64)
    equal = np.flatnonzero(magnitudes == least)
    owner = np.searchsorted(starts, equal, side="right") - 1
    earlier = np.arange(len(equal)) - np.searchsorted(equal, starts)[owner]
    chosen[equal[earlier < missing[owner]]] = True
    return np.flatnonzero(chosen)


def _thresholds(
    magnitudes: Float[np.ndarray, " d"], starts: Int64[np.ndarray, " m"], sizes: Sequence[int], counts: Sequence[int]
) -> Float[np.ndarray, " m"]:
    """Of each segment the smallest of its largest magnitudes; segments of one shape together."""
    alike: dict[tuple[int, int], list[int]] = {}
    for segment, shape in enumerate(zip(sizes, counts, strict=True)):
        alike.setdefault(shape, []).append(segment)
    found: np.ndarray = np.empty(len(sizes), magnitudes.dtype)
    for (size, k), segments in alike.items():
        rows = np.stack([magnitudes[start : start + size] for start in starts[segments].tolist()])
        rows.partition(size - k, axis=1)
        found[segments] = rows[:, size - k]
    return found


def refuse_memory(outer: Codec, inner: Codec) -> None:
    """Refuses a codec whose memory belongs to coordinates, of which others are sent every round.

    Raises:
        ConfigError: the inner codec remembers, or its error is no multiple of the length of what it is given.
    """
    refuse_remembering(outer, inner)
    values_delta(inner, Layout.of({"values": (1,)}))


def refuse_remembering(outer: Codec, inner: Codec) -> None:
    """Refuses a codec with memory inside of one that sends other coordinates every round.

    Raises:
        ConfigError: the inner codec remembers.
    """
    if isinstance(inner, MemoryCodec) or inner.feeds_back:
        given = f"codec {outer.name!r} with its values through {inner.name!r}, which remembers earlier ones"
        raise ConfigError(given, "a codec without memory", f"put {inner.name!r} around {outer.name!r} instead")


def values_delta(inner: Codec, sent: Layout) -> float:
    """δ of the codec that the values go through.

    Raises:
        ConfigError: its error is bounded in another way.
    """
    found = inner.distortion(sent)
    if isinstance(found, Bounded):
        given = f"values through {inner.name!r}, whose error no multiple of their length bounds"
        raise ConfigError(given, "an unbiased or a contractive codec")
    return found.delta


def inside(at: At, sent: Layout, name: str) -> At:
    """Where the codec of the values is: their own layout, and a key below that of the codec around it."""
    return replace(at, layout=sent, key=at.key.fold(name, "values"))
