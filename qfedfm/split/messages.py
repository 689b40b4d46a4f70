"""The bodies of the payloads, as bytes and back. Whoever reads one checks each claim before taking memory for it.

| body | bytes |
|---|---|
| counts | rows of each label, u4 |
| model | step u4, then the shallow part or its gradient, f4 |
| features | step u4, rank u4, the rows' labels (u1; u2 from 257 classes on), then f4: U and B, or X where rank is 0 |
| gradients | step u4, then f4: UᵀG and GV, as the correction needs them; or G, where it or the features are whole |

Little-endian throughout; the number of rows is in the header.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from qfedfm.core.body import Reader
from qfedfm.core.errors import PayloadError
from qfedfm.split.config import Correction
from qfedfm.split.lowrank import Answer, Factors

_STEP, _RANK = 4, 4


def write_numbers(step: int, *arrays: Float32[np.ndarray, ...]) -> bytes:
    """A step and float32 numbers: the body of a model and of gradients.

    Raises:
        PayloadError: a number is not finite.
    """
    if not all(np.isfinite(array).all() for array in arrays):
        raise PayloadError("numbers to be sent that are not finite", "finite numbers only", "lower the rates")
    return b"".join((np.uint32(step).astype("<u4").tobytes(), *(array.astype("<f4").tobytes() for array in arrays)))


def read_model(body: memoryview, step: int, size: int) -> Float32[np.ndarray, " d"]:
    """The vector of a model, or of its gradient.

    Raises:
        PayloadError: of another step or length, or not finite.
    """
    reader = _at(body, step)
    vector = reader.finite(size).astype(np.float32)
    reader.end()
    return vector


def model_length(size: int) -> int:
    """Bytes of `read_model`'s body."""
    return _STEP + 4 * size


def write_counts(counts: Int64[np.ndarray, " classes"]) -> bytes:
    """The rows of each label."""
    return counts.astype("<u4").tobytes()


def read_counts(body: memoryview, classes: int, samples: int) -> Int64[np.ndarray, " classes"]:
    """The rows of each label.

    Raises:
        PayloadError: they are of another number of classes, or do not add up to the rows of the header.
    """
    reader = Reader(body)
    counts = reader.numbers("<u4", classes).astype(np.int64)
    reader.end()
    if counts.sum() != samples:
        raise PayloadError(f"counts of {counts.sum()} rows", f"{samples}, as the header says")
    return counts


@dataclass(frozen=True)
class Features:
    """The features of a batch.

    Args:
        labels: of its rows.
        matrix: X where the rank is full, else X̂'s factors.
    """

    labels: Int64[np.ndarray, " n"]
    matrix: Float32[np.ndarray, "n m"] | Factors

    @property
    def dense(self) -> Float32[np.ndarray, "n m"]:
        """What the receiver computes with."""
        return self.matrix.product if isinstance(self.matrix, Factors) else self.matrix


@dataclass(frozen=True)
class FeatureFormat:
    """What sender and receiver of features agree on.

    Args:
        width: m, features of a row.
        classes: of the task.
        most: rows that a batch can have.
    """

    width: int
    classes: int
    most: int

    @property
    def label(self) -> str:
        """The type of a label."""
        return "<u1" if self.classes <= 256 else "<u2"

    @property
    def largest(self) -> int:
        """The most bytes of a body: factors are sent only where they are shorter than the whole."""
        return _STEP + _RANK + self.most * (np.dtype(self.label).itemsize + 4 * self.width)

    def write(self, step: int, features: Features) -> bytes:
        """The body.

        Raises:
            PayloadError: a feature is not finite.
        """
        matrix = features.matrix
        rank, arrays = (matrix.rank, (matrix.left, matrix.right)) if isinstance(matrix, Factors) else (0, (matrix,))
        numbers = write_numbers(step, *arrays)
        labels = np.asarray(features.labels, self.label)
        return b"".join((numbers[:_STEP], rank.to_bytes(_RANK, "little"), labels.tobytes(), numbers[_STEP:]))

    def read(self, body: memoryview, samples: int, step: int) -> Features:
        """The features.

        Raises:
            PayloadError: of another step, more rows than a batch can have, a rank that no such matrix has or that a
                sender would not use, a label of no class, another length, numbers that are not finite.
        """
        if not 1 <= samples <= self.most:
            raise PayloadError(f"features of {samples} rows", f"1 to {self.most}")
        reader = _at(body, step)
        rank = int(reader.number("<u4"))
        if rank and not pays(rank, samples, self.width):
            raise PayloadError(f"features of rank {rank}", f"a rank at which {samples} × {self.width} gets shorter")
        labels = reader.numbers(self.label, samples).astype(np.int64)
        if labels.max() >= self.classes:
            raise PayloadError(f"label {labels.max()}", f"0 to {self.classes - 1}")
        if not rank:
            whole = reader.finite(samples * self.width).astype(np.float32).reshape(samples, self.width)
            reader.end()
            return Features(labels, whole)
        left = reader.finite(samples * rank).astype(np.float32).reshape(samples, rank)
        right = reader.finite(rank * self.width).astype(np.float32).reshape(rank, self.width)
        reader.end()
        return Features(labels, Factors(left, right))


def pays(rank: int, rows: int, width: int) -> bool:
    """Whether factors of this rank have fewer numbers than the matrix itself."""
    return rank > 0 and rank * (rows + width) < rows * width


def write_gradient(step: int, gradient: Float32[np.ndarray, "n m"] | Answer) -> bytes:
    """The body of gradients.

    Raises:
        PayloadError: a number is not finite.
    """
    if not isinstance(gradient, Answer):
        return write_numbers(step, gradient)
    return write_numbers(step, gradient.left, *(() if gradient.right is None else (gradient.right,)))


def read_whole(body: memoryview, step: int, rows: int, width: int) -> Float32[np.ndarray, "n m"]:
    """G itself.

    Raises:
        PayloadError: of another step or length, or not finite.
    """
    return read_model(body, step, rows * width).reshape(rows, width)


def read_answer(body: memoryview, step: int, factors: Factors, correction: Correction) -> Answer:
    """What came back for factors that were sent.

    Raises:
        PayloadError: of another step or length, or not finite.
    """
    rank, width, rows = factors.rank, factors.right.shape[1], len(factors.left)
    reader = _at(body, step)
    left = reader.finite(rank * width).astype(np.float32).reshape(rank, width)
    right = None
    if correction != "projected":
        right = reader.finite(rows * rank).astype(np.float32).reshape(rows, rank)
    reader.end()
    return Answer(left, right)


def _at(body: memoryview, step: int) -> Reader:
    reader = Reader(body)
    found = int(reader.number("<u4"))
    if found != step:
        raise PayloadError(f"a payload of step {found}", f"step {step}")
    return reader
