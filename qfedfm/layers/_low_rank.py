"""What the codecs of tensor trains and of truncated SVDs share; they differ in how a matrix becomes a tensor."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from pydantic import Field

from qfedfm.core.body import Reader
from qfedfm.core.checks import check_fields
from qfedfm.core.distortion import Contractive, Distortion
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.float32 import require_finite
from qfedfm.core.folding import Folding, largest_ranks
from qfedfm.core.layout import Entry, Layout
from qfedfm.core.parts import At, Codec
from qfedfm.core.ranks import Ranks, Spectra, numbers
from qfedfm.core.tensortrain import TensorTrain, all_of_ranks
from qfedfm.layers._feedback import bounded
from qfedfm.layers._numbers import Precision, read, read_cores, widths, write, write_cores

ERROR = 0.3
"""The error of a codec that is given neither knob."""
_LEAST = 2.0**-8
"""Of the error with numbers of 16 bits: what they are off by themselves."""
_EXPONENTS = range(-148, 129)
"""Of the largest number of a vector that is not zero, as `frexp` gives them."""
_SHARES = (1.0, 0.5)
"""Of the squared error that the ranks may take up, the next where rounding takes up too much of the rest."""


@dataclass(frozen=True)
class LowRank(Codec):
    """See `TensorTrainCodec` and `TruncatedSvd`."""

    error: Annotated[float, Field(gt=0, lt=1)] | None = None
    bits: Annotated[float, Field(gt=0, le=32)] | None = None
    precision: Precision = "int8"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.error is not None and self.bits is not None:
            given = f"codec {self.name!r} with error = {self.error} and bits = {self.bits}"
            raise ConfigError(given, "one of the two", "leave the other out")
        if self.error is not None and self.error < _LEAST and self.precision != "float32":
            given = f"codec {self.name!r} with error = {self.error} in {self.precision}"
            raise ConfigError(given, f"at least {_LEAST}, the error of its numbers", 'take precision = "float32"')

    @abc.abstractmethod
    def folding(self, shape: tuple[int, ...]) -> Folding:
        """How a tensor of the layout, of at least two axes, is taken apart."""

    @property
    def _error(self) -> float:
        return ERROR if self.error is None else self.error

    def encode(self, x: Float32[np.ndarray, " d"], at: At) -> bytes:
        require_finite(x, at.layout)
        plan = _plan(self, at.layout)
        exponent = int(np.frexp(np.abs(x).max())[1]) if x.any() else 0
        y = np.ldexp(x.astype(np.float64), -exponent)
        if not plan.matrices:
            return _body(y, exponent, plan, plan.nothing(), self.precision)
        tensors = [folding.fold(y[entry.start : entry.stop]) for entry, folding in plan.matrices]
        spectra = Spectra.of(tensors)
        if self.bits is not None:
            chosen = spectra.within(self.bits / 8 * at.layout.size - plan.fixed, plan.cost, plan.dense)
            return _body(y, exponent, plan, chosen, self.precision, tensors)
        allowed, square = self._error**2, float(x.astype(np.float64) @ x)
        for share in _SHARES:
            chosen = spectra.cheapest(share * allowed * float(y @ y), plan.cost, plan.dense)
            body = _body(y, exponent, plan, chosen, self.precision, tensors)
            if float(((self.decode(body, at).astype(np.float64) - x) ** 2).sum()) <= allowed * square:
                return body
        return _body(y, exponent, plan, plan.nothing(), self.precision, tensors)

    def decode(self, body: bytes | memoryview, at: At) -> Float32[np.ndarray, " d"]:
        plan, reader = _plan(self, at.layout), Reader(body)
        exponent = int(reader.number("<i2"))
        if exponent not in _EXPONENTS:
            raise PayloadError(f"an exponent of {exponent}", f"{_EXPONENTS.start} to {_EXPONENTS.stop - 1}")
        chosen = plan.read_ranks(reader)
        mask = plan.outside(chosen)
        outside = read(reader, int(np.count_nonzero(mask)), self.precision)
        where = [number for number in range(len(plan.matrices)) if chosen.ranks[number].any()]
        trains = read_cores(reader, [plan.cores(number, chosen.ranks[number]) for number in where], self.precision)
        reader.end()
        y = np.zeros(at.layout.size)
        y[mask] = outside
        with np.errstate(over="ignore", invalid="ignore"):  # of cores that no encoder made
            for number, train in zip(where, trains, strict=True):
                entry, folding = plan.matrices[number]
                y[entry.start : entry.stop] = folding.unfold(TensorTrain(tuple(train)).dense())
            x = bounded(np.ldexp(y, exponent))
        require_finite(x, at.layout)
        return x

    def largest(self, layout: Layout) -> int:
        plan = _plan(self, layout)
        return int(plan.fixed + plan.dense.sum())

    def distortion(self, layout: Layout) -> Distortion:
        return Contractive(0.0 if self.bits is not None else 1 - self._error**2)


@dataclass(frozen=True)
class Plan:
    """What a codec does with a layout.

    Args:
        matrices: the tensors of at least two axes, and how they are taken apart.
        axes: of the tensors that they become.
        most: the largest ranks.
        vectors: whether a coordinate lies in none of them.
        widths: see `widths`.
    """

    matrices: tuple[tuple[Entry, Folding], ...]
    axes: Int64[np.ndarray, "t d"]
    most: Int64[np.ndarray, "t bonds"]
    vectors: Bool[np.ndarray, " n"]
    widths: tuple[int, int, int]

    @property
    def rank(self) -> np.dtype:
        """The type of a rank; its largest number is that of a tensor which is dense."""
        return np.dtype(np.min_scalar_type(int(self.most.max(initial=0)) + 1)).newbyteorder("<")

    @property
    def fixed(self) -> int:
        """Bytes besides those of matrices: the exponent, the ranks, the vectors."""
        return 2 + self.most.size * self.rank.itemsize + self.widths[0] * int(np.count_nonzero(self.vectors))

    @property
    def dense(self) -> Float64[np.ndarray, " t"]:
        """Bytes of each matrix as it is."""
        return np.asarray(self.widths[0] * self.axes.prod(axis=1, dtype=np.float64))

    def cost(self, ranks: Int64[np.ndarray, "t bonds"]) -> Float64[np.ndarray, " t"]:
        """Bytes of the trains."""
        _, number, scale = self.widths
        return np.asarray(number * numbers(ranks, self.axes) + scale * ranks.sum(axis=1), np.float64)

    def nothing(self) -> Ranks:
        """All tensors dense."""
        return Ranks(np.zeros_like(self.most), np.ones(len(self.matrices), bool))

    def outside(self, chosen: Ranks) -> Bool[np.ndarray, " d"]:
        """Whether a coordinate travels as it is."""
        mask = self.vectors.copy()
        for number in np.flatnonzero(chosen.dense):
            entry, _ = self.matrices[number]
            mask[entry.start : entry.stop] = True
        return mask

    def cores(self, number: int, ranks: Int64[np.ndarray, " bonds"]) -> list[tuple[int, int, int]]:
        """The shapes of the cores of a train."""
        ends = [1, *ranks.tolist(), 1]
        return list(zip(ends, self.matrices[number][1].shape, ends[1:], strict=False))

    def read_ranks(self, reader: Reader) -> Ranks:
        """Of all tensors.

        Raises:
            PayloadError: there are not as many, or the ranks of a tensor are none that a train can have.
        """
        found = reader.numbers(self.rank.str, self.most.size).reshape(self.most.shape)
        dense = (found == np.iinfo(self.rank).max).all(axis=1)
        ranks = np.where(dense[:, None], 0, found.astype(np.int64))
        wrong = (ranks > self.most).any(axis=1) | (ranks.any(axis=1) & ~ranks.all(axis=1))
        wrong |= self.cost(ranks) >= self.dense
        if wrong.any():
            number = int(np.argmax(wrong))
            given = f"ranks {found[number].tolist()} of tensor {self.matrices[number][0].name!r}"
            raise PayloadError(given, f"at most {self.most[number].tolist()}, and fewer numbers than it has")
        return Ranks(ranks, dense)


@lru_cache(maxsize=16)
def _plan(codec: LowRank, layout: Layout) -> Plan:
    matrices = tuple((entry, codec.folding(entry.shape)) for entry in layout if len(entry.shape) > 1)
    vectors = np.ones(layout.size, bool)
    for entry, _ in matrices:
        vectors[entry.start : entry.stop] = False
    shapes = [folding.shape for _, folding in matrices]
    axes = np.array(shapes, np.int64).reshape(len(matrices), -1 if matrices else 2)
    most = np.array([largest_ranks(shape) for shape in shapes], np.int64).reshape(len(matrices), axes.shape[1] - 1)
    return Plan(matrices, axes, most, vectors, widths(codec.precision))


def _body(
    y: Float64[np.ndarray, " d"], exponent: int, plan: Plan, chosen: Ranks, precision: Precision,
    tensors: Sequence[np.ndarray] = (),
) -> bytes:  # fmt: skip
    """
    | bytes | field |
    |---|---|
    | 2 | e; all numbers below are to be multiplied by 2^e |
    | w · Σ (d − 1) | ranks of all tensors, w bytes each; all bits set where a tensor is dense |
    | | numbers outside trains, in their order |
    | | cores, see `write_cores` |
    """
    marked = np.where(chosen.dense[:, None], np.iinfo(plan.rank).max, chosen.ranks).astype(plan.rank)
    head = np.array(exponent, "<i2").tobytes() + marked.tobytes()
    return head + write(y[plan.outside(chosen)], precision) + write_cores(list(_trains(chosen, tensors)), precision)


def _trains(chosen: Ranks, tensors: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
    """The cores of all trains, in the order of their tensors."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for number in np.flatnonzero(~chosen.dense & chosen.ranks.any(axis=1)).tolist():
        alike.setdefault(tensors[number].shape, []).append(number)
    found: dict[int, TensorTrain] = {}
    for same in alike.values():
        trains = all_of_ranks(np.stack([tensors[number] for number in same]), chosen.ranks[same])
        found |= dict(zip(same, trains, strict=True))
    return (found[number].cores for number in sorted(found))
