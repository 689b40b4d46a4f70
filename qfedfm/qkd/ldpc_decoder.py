"""The search for the errors that have a given syndrome."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from qfedfm.qkd.extra import qkd
from qfedfm.qkd.ldpc_codes import KERNELS, Code


class Decoder:
    """Looks for the errors of one frame, and begins anew when more of the syndrome is known.

    Sum-product, layer by layer (Hocevar, IEEE SiPS 2004), on odds P(0)/P(1) in float32, which takes two divisions an
    edge and no exponential. Known bits count as 2^80 : 1. Going on with the messages of the last try would leave the
    decoder in whatever trap it fell into.

    Args:
        code: with what.
        qber: probability q of an error, above 0 and below 1/2.
        known: bits that are no errors for certain.
        syndrome: of the errors, no row split.

    Example:
        >>> tiny = Code(1, np.array([[0, 0, -1], [-1, 0, 0]], np.int32))
        >>> decoder = Decoder(tiny, 0.1, np.zeros(3, bool), np.array([[1], [0]], np.uint8))
        >>> decoder.run(10), decoder.errors.tolist()
        (True, [1, 0, 0])
    """

    def __init__(
        self, code: Code, qber: float, known: Bool[np.ndarray, " n"], syndrome: UInt8[np.ndarray, "rows z"]
    ) -> None:
        self._code, self._qber, self._known, self._wanted = code, qber, known, syndrome
        self._splits = 0
        self._begin()

    def split(self, halves: UInt8[np.ndarray, "more z"]) -> None:
        """Takes the syndromes of the first halves of the next rows.

        That so much had to be disclosed says that there are more errors: q grows with the number of checks.
        """
        done, more = self._splits, len(halves)
        whole = self._wanted[2 * done :][:more]
        pairs = np.stack((halves, whole ^ halves), axis=1).reshape(2 * more, -1)
        self._wanted = np.concatenate((self._wanted[: 2 * done], pairs, self._wanted[2 * done + more :]))
        self._splits += more
        self._qber = min(0.49, self._qber * (1 + more / (self._code.rows + done)))
        self._begin()

    def _begin(self) -> None:
        self._odds = np.full(self._code.bits, (1 - self._qber) / self._qber, np.float32)
        self._odds[self._known] = 2.0**80
        self._messages = np.ones((len(self._code.edges[0]), self._code.lifting), np.float32)

    def run(self, iterations: int) -> bool:
        """Whether the errors found have the syndrome, after as many iterations at most."""
        columns, shifts, _ = self._code.edges
        starts = self._code.starts(self._splits)
        took: int = qkd(KERNELS).decode(self._odds, self._messages, self._wanted, starts, columns, shifts, iterations)
        return took > 0

    @property
    def zero(self) -> Float32[np.ndarray, " n"]:
        """Probability of every bit to be no error; exact, once run, where the code has no cycles."""
        return self._odds / (1 + self._odds)

    @property
    def errors(self) -> UInt8[np.ndarray, " n"]:
        """The likelier value of every bit."""
        return (self._odds < 1).astype(np.uint8)
