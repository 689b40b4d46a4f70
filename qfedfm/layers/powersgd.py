"""PowerSGD: a matrix as the product of two thin ones, by one step of the power iteration a message."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Literal, final

import numpy as np
import pydantic
from jaxtyping import Float32, Float64

from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import State
from qfedfm.core.distortion import Contractive, Distortion
from qfedfm.core.float32 import Float32Codec, require_finite
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec, MemoryCodec
from qfedfm.core.registry import part
from qfedfm.layers._feedback import bounded
from qfedfm.layers.bfloat16 import Bfloat16

_CODECS: dict[str, Codec] = {"float32": Float32Codec(), "bfloat16": Bfloat16()}


@dataclass(frozen=True)
class _Group:
    """All matrices of one shape, m × n, that travel as two factors.

    Args:
        places: where each lies in the vector.
    """

    m: int
    n: int
    places: tuple[slice, ...]

    def take(self, x: Float32[np.ndarray, " d"]) -> Float64[np.ndarray, "k m n"]:
        """The matrices."""
        return np.stack([x[place] for place in self.places]).reshape(-1, self.m, self.n).astype(np.float64)


@dataclass(frozen=True)
class _Plan:
    """What of a layout travels as two factors of rank r, and where the numbers lie that go as they are."""

    groups: tuple[_Group, ...]
    rest: tuple[slice, ...]
    rank: int

    @property
    def cuts(self) -> tuple[int, int, int]:
        """Where in a body the numbers that go as they are, all P, and all Q stop."""
        rest = sum(place.stop - place.start for place in self.rest)
        left = self.rank * sum(len(group.places) * group.m for group in self.groups)
        right = self.rank * sum(len(group.places) * group.n for group in self.groups)
        return rest, rest + left, rest + left + right

    def split(self, flat: np.ndarray, side: Literal["m", "n"]) -> Iterator[Float64[np.ndarray, "k l r"]]:
        """All P (side m) or all Q (side n), one array for each group, from their numbers in a line."""
        start = 0
        for group in self.groups:
            shape = (len(group.places), getattr(group, side), self.rank)
            yield flat[start : start + math.prod(shape)].reshape(shape).astype(np.float64)
            start += math.prod(shape)


@lru_cache(maxsize=8)
def _plan(layout: Layout, rank: int) -> _Plan:
    found: dict[tuple[int, int], list[slice]] = {}
    rest: list[slice] = []
    for entry in layout:
        m, n = (entry.shape[0], math.prod(entry.shape[1:])) if len(entry.shape) > 1 else (1, 1)
        small = rank * (m + n) < m * n
        (found.setdefault((m, n), []) if small else rest).append(slice(entry.start, entry.stop))
    groups = (_Group(m, n, tuple(places)) for (m, n), places in found.items())
    return _Plan(tuple(groups), tuple(rest), rank)


def _joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *(part.reshape(-1) for part in parts)])


def _directions(q: np.ndarray) -> np.ndarray:
    """Columns scaled to a largest entry of 1, so that float32 holds them; zeros stay."""
    largest = np.abs(q).max(axis=1, keepdims=True)
    return np.asarray(q / np.where(largest > 0, largest, 1))


def _awake(memory: Float32[np.ndarray, " s"], plan: _Plan, key: Key) -> list[Float64[np.ndarray, "k n r"]]:
    """The remembered Q, with Gaussian columns from the key in place of those that are zero, as all are at first.

    Without that, a matrix that was zero once would be sent as zero for ever.
    """
    kept = list(plan.split(memory, "n"))
    asleep = [~q.any(axis=1, keepdims=True) for q in kept]
    if not any(columns.any() for columns in asleep):
        return kept
    fresh = plan.split(key.numpy().standard_normal(len(memory)), "n")
    return [np.where(columns, new, q) for columns, new, q in zip(asleep, fresh, kept, strict=True)]


@part("powersgd", paper="Vogels et al., NeurIPS 2019, arXiv 1905.13727, algorithm 1")
@final
@dataclass(frozen=True)
class PowerSGD(MemoryCodec):
    """M ≈ P Qᵀ for each matrix M of the update: P = the orthonormal basis of M Q₋₁, and Q = Mᵀ P.

    One step of the subspace iteration a message, which goes on from Q₋₁, the sender's last Q (Gaussian at first): while
    M changes slowly, P Qᵀ approaches the best approximation of rank r. r(m + n) numbers in place of m·n; vectors,
    scalars, and matrices that would not get smaller are sent number by number. Tensors of more axes are matrices whose
    lines are the first axis. Biased: made for error feedback, ``{name = "error-feedback", codec = "powersgd"}``.

    Its distortion is δ = 0, no more: M − P Qᵀ is a projection of M and never larger than it, but a client whose
    update turns away from what it sent before may get next to nothing across in one message. Where Q₋₁ is Gaussian,
    as in a first message, E‖M − P Qᵀ‖² ≤ (1 − r/min(m, n)) ‖M‖².

    Args:
        rank: r, of P and Q.
        precision: of all numbers that are sent. P is rounded before Q is computed from it.

    Raises:
        PayloadError: a value is NaN or infinite, or the length differs.

    Differs from the paper: each client sends its own P and Q in one message. There, workers average M Q₋₁ before it is
    orthogonalised and Q after it, in two rounds of communication, and all hold the same Q₋₁. Its error feedback is a
    codec of its own here. A column of Q₋₁ that is zero is drawn again. P √m and Q/√m are sent, so that no number is
    beyond the range of M.

    Example:
        >>> import qfedfm as qf
        >>> layout = qf.Layout.of({"lora_A": (8, 384), "bias": (5,)})
        >>> PowerSGD(rank=1).largest(layout), 4 * layout.size
        (1588, 12308)
    """

    rank: Annotated[int, pydantic.Field(ge=1)] = 2
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        check_fields(self)

    def memory(self, layout: Layout) -> State:
        _, start, stop = _plan(layout, self.rank).cuts
        return {"q": np.zeros(stop - start, np.float32)}

    def send(self, x: Float32[np.ndarray, " d"], memory: State, at: At) -> tuple[bytes, State]:
        require_finite(x, at.layout)
        plan = _plan(at.layout, self.rank)
        matrices = [group.take(x) for group in plan.groups]
        before = _awake(memory["q"], plan, at.key.fold("powersgd"))
        bases = [np.linalg.qr(M @ q).Q * math.sqrt(M.shape[1]) for M, q in zip(matrices, before, strict=True)]
        p = self._rounded(_joined(bases), at)
        projected = zip(matrices, plan.split(p, "m"), strict=True)
        after = [M.transpose(0, 2, 1) @ basis / M.shape[1] for M, basis in projected]
        numbers = np.concatenate([*(x[place] for place in plan.rest), p, bounded(_joined(after))])
        kept = _joined([_directions(q) for q in after]).astype(np.float32)
        return self._codec.encode(numbers, self._at(len(numbers), at)), {"q": kept}

    def receive(self, body: bytes | memoryview, mirror: State, at: At) -> tuple[Float32[np.ndarray, " d"], State]:
        plan = _plan(at.layout, self.rank)
        numbers = self._codec.decode(body, self._at(plan.cuts[-1], at))
        raw, p, q, _ = np.split(numbers, plan.cuts)
        x, start = np.empty(at.layout.size, np.float32), 0
        for place in plan.rest:
            stop = start + place.stop - place.start
            x[place], start = raw[start:stop], stop
        for group, left, right in zip(plan.groups, plan.split(p, "m"), plan.split(q, "n"), strict=True):
            for place, product in zip(group.places, left @ right.transpose(0, 2, 1), strict=True):
                x[place] = bounded(product.reshape(-1))
        return x, mirror

    def largest(self, layout: Layout) -> int:
        return self._codec.largest(Layout.of({"numbers": (_plan(layout, self.rank).cuts[-1],)}))

    def distortion(self, layout: Layout) -> Distortion:
        return Contractive(0.0)

    @property
    def _codec(self) -> Codec:
        return _CODECS[self.precision]

    def _at(self, count: int, at: At) -> At:
        return replace(at, layout=Layout.of({"numbers": (count,)}))

    def _rounded(self, numbers: np.ndarray, at: At) -> Float32[np.ndarray, " n"]:
        """As the receiver will see them."""
        if not len(numbers):
            return numbers
        place = self._at(len(numbers), at)
        return self._codec.decode(self._codec.encode(numbers.astype(np.float32), place), place)
