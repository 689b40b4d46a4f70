"""The numbers of trains and of what stays dense as bytes, in one of three precisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64

from qfedfm.core.body import Reader
from qfedfm.core.errors import PayloadError
from qfedfm.layers._bfloat16 import from_bfloat16, to_bfloat16

Precision = Literal["float32", "bfloat16", "int8"]
Cores = Sequence[Float64[np.ndarray, "_ _ _"]]
_STEPS = 127


def widths(precision: Precision) -> tuple[int, int, int]:
    """Bytes of a number that is dense, of one in a core, and of what each rank adds: its scale, where there is one."""
    return {"float32": (4, 4, 0), "bfloat16": (2, 2, 0), "int8": (2, 1, 4)}[precision]


def write(x: Float[np.ndarray, " n"], precision: Precision) -> bytes:
    """Numbers outside trains: float32, or bfloat16 in both other precisions.

    A tensor of few large and many small numbers has no 8-bit form with a bound on its error; bfloat16 has.
    """
    if precision == "float32":
        return x.astype("<f4").tobytes()
    return to_bfloat16(x.astype(np.float32)).tobytes()


def read(reader: Reader, count: int, precision: Precision) -> Float32[np.ndarray, " n"]:
    """What `write` wrote.

    Raises:
        PayloadError: there are not as many, or one is not finite.
    """
    if precision == "float32":
        return reader.finite(count)
    found = from_bfloat16(reader.numbers("<u2", count))
    if not np.isfinite(found).all():
        raise PayloadError("a body with a number that is not finite", "finite numbers only")
    return found


def write_cores(trains: Sequence[Cores], precision: Precision) -> bytes:
    """The cores of all trains; as whole numbers of 8 bits after their scales, a float32 for each rank.

    Each column of a core (a right index), and each row of a last core, is a multiple of its largest number over 127;
    the multiples of the two sides of a rank are one.
    """
    if precision != "int8":
        return write(np.concatenate([np.zeros(0), *(core.ravel() for train in trains for core in train)]), precision)
    scales, whole = [], []
    for train in trains:
        *inner, last = train
        steps = [_step(core, (0, 1)) for core in inner]
        whole += [np.rint(core / step) for core, step in zip(inner, steps, strict=True)]
        rows = _step(last, (1, 2))
        whole.append(np.rint(last / rows[:, None, None]))
        scales += [*steps[:-1], steps[-1] * rows]
    if not trains:
        return b""
    numbers = np.concatenate([core.ravel() for core in whole]).astype(np.int8)
    return b"".join((np.concatenate(scales).astype("<f4").tobytes(), numbers.tobytes()))


def _step(core: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    largest = np.abs(core).max(axis=axes)
    return np.where(largest > 0, largest, 1.0) / _STEPS


def read_cores(reader: Reader, shapes: Sequence[Sequence[tuple[int, int, int]]], precision: Precision) -> list[Cores]:
    """What `write_cores` wrote.

    Raises:
        PayloadError: there are not as many numbers, or one is not finite.
    """
    count = sum(left * n * right for train in shapes for left, n, right in train)
    ranks = sum(right for train in shapes for _, _, right in train[:-1])
    if precision == "int8":
        scales = reader.finite(ranks).astype(np.float64)
        numbers = reader.numbers("i1", count).astype(np.float64)
    else:
        numbers = read(reader, count, precision).astype(np.float64)
    found: list[Cores] = []
    start = bond = 0
    for train in shapes:
        cores = []
        for k, shape in enumerate(train):
            stop = start + shape[0] * shape[1] * shape[2]
            core: np.ndarray = numbers[start:stop].reshape(shape)
            if precision == "int8" and k < len(train) - 1:
                core = core * scales[bond : bond + shape[2]]
                bond += shape[2]
            cores.append(core)
            start = stop
        found.append(cores)
    return found
