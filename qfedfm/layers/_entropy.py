"""Symbols in about as many bits as their entropy, by asymmetric numeral systems."""

from __future__ import annotations

import struct

import numpy as np
from jaxtyping import Int32, Int64, Integer

from qfedfm.core.body import Reader
from qfedfm.core.errors import PayloadError

_STEPS, _ABSENT = 8, 255
_MANTISSAS = np.array([round(2**28 * 2 ** (-step / _STEPS)) for step in range(_STEPS)], np.int64)
_HEAD = struct.Struct("<HI")
MOST_SYMBOLS = 2**12
"""Different symbols that a stream can have."""


def _table(counts: Int64[np.ndarray, " k"]) -> bytes:
    """A byte for each symbol: −8·log₂ of its frequency over the largest, rounded; 255 where it is absent."""
    with np.errstate(divide="ignore"):
        steps = np.minimum(np.round(-_STEPS * np.log2(counts / counts.max())), _ABSENT - 1)
    return np.where(counts > 0, steps, _ABSENT).astype(np.uint8).tobytes()


def _frequencies(table: bytes | memoryview) -> Int64[np.ndarray, " k"]:
    """Whole numbers in the ratios that the table says; the same on every machine."""
    steps = np.frombuffer(table, np.uint8).astype(np.int64)
    found = np.maximum(_MANTISSAS[steps % _STEPS] >> (steps // _STEPS), 1)
    return np.where(steps == _ABSENT, 0, found)


def bits(counts: Integer[np.ndarray, " k"]) -> float:
    """The length of the stream of symbols that occur so often, its table included, in bits."""
    present = counts[counts > 0].astype(np.float64)
    return float(present @ np.log2(present.sum() / present)) + 8 * (_HEAD.size + len(counts)) + 32


def encode(symbols: Integer[np.ndarray, " n"]) -> bytes:
    """The stream of symbols from 0 on, with the table of their frequencies in front.

    | bytes | field |
    |---|---|
    | 2 | K, the number of symbols |
    | 4 | words |
    | K | table |
    | 4 · words | compressed by `constriction`'s ANS coder |
    """
    counts = np.bincount(symbols)
    table, words = _table(counts), b""
    if np.count_nonzero(counts) > 1:
        import constriction

        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(symbols.astype(np.int32), _model(_frequencies(table)))
        words = coder.get_compressed().astype("<u4").tobytes()
    return _HEAD.pack(len(table), len(words) // 4) + table + words


def decode(reader: Reader, count: int) -> Int32[np.ndarray, " n"]:
    """The symbols that `encode` took, ``count`` of them.

    Raises:
        PayloadError: the body ends before, or is no stream of so many symbols.
    """
    size, words = _HEAD.unpack(reader.take(_HEAD.size))
    frequencies = _frequencies(reader.take(size))
    compressed = reader.numbers("<u4", words)
    present = np.flatnonzero(frequencies)
    if not 0 < size <= MOST_SYMBOLS or not len(present) or (len(present) == 1 and words):
        raise PayloadError(f"a table of {size} symbols, {len(present)} of them in use", f"1 to {MOST_SYMBOLS}")
    if len(present) == 1:
        return np.full(count, present[0], np.int32)
    import constriction

    try:
        coder = constriction.stream.stack.AnsCoder(compressed.astype(np.uint32))
        found: np.ndarray = coder.decode(_model(frequencies), count)
    except ValueError as error:
        raise PayloadError(f"a stream of symbols that cannot be read ({error})") from None
    if not coder.is_empty():
        raise PayloadError("a stream with more than its symbols", f"{count} symbols")
    return found


def largest(count: int) -> int:
    """The most bytes of a stream of so many symbols."""
    return _HEAD.size + MOST_SYMBOLS + 4 * count + 8


def _model(frequencies: Int64[np.ndarray, " k"]) -> object:
    import constriction

    probabilities = frequencies / frequencies.sum()
    return constriction.stream.model.Categorical(probabilities, perfect=False)
