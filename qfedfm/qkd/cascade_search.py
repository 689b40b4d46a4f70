"""What Cascade asks next, from where the two strings' parities differed so far: the same for either party."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, UInt8

from qfedfm.core.errors import PayloadError
from qfedfm.qkd.extra import qkd

KERNELS = "qfedfm.qkd._cascade"


@dataclass(frozen=True)
class Questions:
    """Stretches of places whose parities are asked for: ``start ≤ place < stop`` in the order of a frame's pass."""

    frame: Int32[np.ndarray, " m"]
    step: Int32[np.ndarray, " m"]
    start: Int32[np.ndarray, " m"]
    stop: Int32[np.ndarray, " m"]

    def __len__(self) -> int:
        return len(self.frame)


class Search:
    """Finds the errors of many frames from differences of parities.

    A leaf is a stretch of a pass's order whose parity is known and none of whose parts is. A leaf with an odd number
    of errors left is halved until one bit remains, which is wrong; correcting it turns the parity of its leaf in every
    other pass. Where parts are not used again, a leaf is halved only while its whole block is odd.

    Args:
        frames: how many.
        n: bits of each.
        sizes: of the blocks, by pass.
        seed: of the orders of all passes but the first, which takes the bits as they are.
        reuse: whether parts count as blocks; passes of the last size then begin together.
        share: from the second pass on, one in how many leaves is halved at the same time.
    """

    def __init__(self, frames: int, n: int, sizes: tuple[int, ...], seed: bytes, *, reuse: bool, share: int) -> None:
        kernels = qkd(KERNELS)
        self._kernels, self._share = kernels, share
        order, place = _orders(seed, len(sizes), n)
        shape = (frames, len(sizes), n // 64 + 1)
        cut, odd, turned = (np.zeros(shape, np.uint64) for _ in range(3))
        self._state = kernels.State(
            sizes=np.array(sizes),
            order=order,
            place=place,
            cut=cut,
            odd=odd,
            top=np.zeros((0 if reuse else frames, *shape[1:]), np.uint64),
            turned=turned,
            wrong=np.zeros((-(-frames // 64), n), np.uint64),
            left=np.zeros(shape[:2], np.int64),
        )
        passes = len(sizes)
        self._stages = [p for p in range(1, passes + 1) if not reuse or p in (1, passes) or sizes[p - 1] != sizes[-1]]
        self.opened = 0
        """Passes that have begun."""
        self._finished = False
        self._leaves: tuple[np.ndarray, ...] = ()
        self._begin_next()

    @property
    def order(self) -> Int32[np.ndarray, "passes n"]:
        """Which bit stands at a place, by pass."""
        found: np.ndarray = self._state.order
        return found

    @property
    def wrong(self) -> np.ndarray:
        """The errors found so far, 64 frames a word."""
        found: np.ndarray = self._state.wrong
        return found

    def finished(self) -> bool:
        """Whether nothing is left to ask."""
        return self._finished

    def learn(self, differences: UInt8[np.ndarray, " m"]) -> None:
        """Takes in where the answers to the questions differ, and asks what follows.

        Raises:
            PayloadError: the answers contradict each other.
        """
        if self._leaves:
            fits = self._kernels.halve(self._state, self.opened, differences, *self._leaves)
        else:
            fits = self._kernels.begin(self._state, self._begun, self.opened, differences)
        if not fits:
            raise PayloadError(
                "parities that contradict each other", "those of two strings", "authenticate the channel"
            )
        if self._state.left.any():
            self._halve_next()
        elif self._stages:
            self._begin_next()
        else:
            self._finished = True

    def _begin_next(self) -> None:
        """Asks for the blocks of the next passes; the last block of all passes but the first follows from the rest."""
        self._begun, self.opened = self.opened, self._stages.pop(0)
        frames, n = len(self._state.cut), self._state.order.shape[1]
        asked = []
        for step in range(self._begun, self.opened):
            start = np.arange(0, n, self._state.sizes[step], dtype=np.int32)
            stop = np.append(start[1:], np.int32(n))
            known = len(start) if step == 0 else len(start) - 1
            frame = np.repeat(np.arange(frames, dtype=np.int32), known)
            asked.append(
                (frame, np.full_like(frame, step), np.tile(start[:known], frames), np.tile(stop[:known], frames))
            )
        self._leaves = ()
        self.questions = Questions(*(np.concatenate(column) for column in zip(*asked, strict=True)))
        if not len(self.questions):
            self.learn(np.zeros(0, np.uint8))

    def _halve_next(self) -> None:
        """Asks for the first halves of leaves."""
        space = np.empty((5, int(self._state.left.sum())), np.int32)
        count = self._kernels.choose(self._state, self.opened, self._share, *space)
        frame, step, start, middle, stop = space[:, :count]
        self._leaves = (frame, step, start, middle, stop)
        self.questions = Questions(frame, step, start, middle)


def _orders(seed: bytes, passes: int, n: int) -> tuple[Int32[np.ndarray, "passes n"], Int32[np.ndarray, "passes n"]]:
    """The order of every pass and its inverse, from raw words, which are the same in every version of numpy."""
    kernels = qkd(KERNELS)
    order, place = np.empty((2, passes, n), np.int32)
    order[0] = place[0] = np.arange(n)
    stream = np.random.PCG64(int.from_bytes(seed, "little"))
    for step in range(1, passes):
        kernels.shuffle(stream.random_raw(n), order[step], place[step])
    return order, place
