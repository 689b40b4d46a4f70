"""The inner loops of Cascade, compiled by numba: bit sets of 64 places a word, and strings of 64 frames a word."""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_BARE = ir.Constant(ir.IntType(1), 1)
"""Whether a word of zeros may give anything."""
_ONE, _ALL = np.uint64(1), np.uint64(2**64 - 1)


class State(NamedTuple):
    """What either party knows: sets of places of a pass's order, by frame, pass and word, and what belongs to them.

    A leaf is a stretch of places whose parity is known and none of whose parts is.

    Args:
        sizes: bits of a block, by pass.
        order: which bit stands at a place (pass, n).
        place: its inverse.
        cut: where leaves begin, and the place after the last.
        odd: where those leaves begin that have an odd number of errors left.
        top: the same of the blocks that the passes began with; of length 0 where every leaf counts as a block.
        turned: what was corrected since the pass began.
        wrong: the errors found, 64 frames a word (groups, n).
        left: how many odd blocks there are (frame, pass).
    """

    sizes: np.ndarray
    order: np.ndarray
    place: np.ndarray
    cut: np.ndarray
    odd: np.ndarray
    top: np.ndarray
    turned: np.ndarray
    wrong: np.ndarray
    left: np.ndarray


@intrinsic
@no_type_check
def _ones(_context, _word):
    """How many bits of a word are set: an instruction of its own, as the next two are."""
    return types.uint64(types.uint64), lambda _, builder, __, given: builder.ctpop(given[0])


@intrinsic
@no_type_check
def _zeros_below(_context, _word):
    """How many bits below the lowest that is set."""
    return types.int64(types.uint64), lambda _, builder, __, given: builder.cttz(given[0], _BARE)


@intrinsic
@no_type_check
def _zeros_above(_context, _word):
    """How many bits above the highest that is set."""
    return types.int64(types.uint64), lambda _, builder, __, given: builder.ctlz(given[0], _BARE)


@njit(nogil=True)
@no_type_check
def parity(word):
    """Of the bits of a word."""
    return _ones(word) & _ONE


@njit(nogil=True)
@no_type_check
def has(words, place):
    """Whether the place is marked: 0 or 1."""
    return (words[place >> 6] >> np.uint64(place & 63)) & _ONE


@njit(nogil=True)
@no_type_check
def flip(words, place):
    """Marks the place, or takes its mark away."""
    words[place >> 6] ^= _ONE << np.uint64(place & 63)


@njit(nogil=True)
@no_type_check
def last_until(words, place):
    """The last marked place up to this one; there must be one."""
    at = place >> 6
    word = words[at] & (_ALL >> np.uint64(63 - (place & 63)))
    while word == 0:
        at -= 1
        word = words[at]
    return at * 64 + 63 - _zeros_above(word)


@njit(nogil=True)
@no_type_check
def first_from(words, place):
    """The first marked place from this one; there must be one."""
    at = place >> 6
    word = words[at] & (_ALL << np.uint64(place & 63))
    while word == 0:
        at += 1
        word = words[at]
    return at * 64 + _zeros_below(word)


@njit(nogil=True)
@no_type_check
def parity_between(words, start, stop):
    """Parity of the number of marks in start ≤ place < stop, of a stretch that is not empty."""
    first, last = start >> 6, (stop - 1) >> 6
    low, high = _ALL << np.uint64(start & 63), _ALL >> np.uint64(63 - ((stop - 1) & 63))
    if first == last:
        return parity(words[first] & low & high)
    total = (words[first] & low) ^ (words[last] & high)
    for at in range(first + 1, last):
        total ^= words[at]
    return parity(total)


@njit(nogil=True)
@no_type_check
def sliced(bits):
    """Frames (frames, n) as words (groups, n): bit f of word [g, i] is bit i of frame 64 g + f."""
    frames, n = bits.shape
    words = np.zeros(((frames + 63) // 64, n), np.uint64)
    for f in range(frames):
        shift = np.uint64(f & 63)
        for i in range(n):
            words[f >> 6, i] |= np.uint64(bits[f, i]) << shift
    return words


@njit(nogil=True)
@no_type_check
def unsliced(words, frames):
    """The frames that `sliced` put together."""
    n = words.shape[1]
    bits = np.empty((frames, n), np.uint8)
    for f in range(frames):
        shift = np.uint64(f & 63)
        for i in range(n):
            bits[f, i] = (words[f >> 6, i] >> shift) & _ONE
    return bits


@njit(nogil=True)
@no_type_check
def shuffle(raw, order, place):
    """An order by Fisher and Yates from n random words (as good as fair: off by n/2³²), and its inverse."""
    n = len(order)
    for i in range(n):
        order[i] = i
    for i in range(n - 1, 0, -1):
        j = np.int64(((raw[i] >> np.uint64(32)) * np.uint64(i + 1)) >> np.uint64(32))
        order[i], order[j] = order[j], order[i]
    for i in range(n):
        place[order[i]] = i


@njit(nogil=True)
@no_type_check
def accumulate(words, order, running):
    """running[g, i] = XOR of words[g, order[j]] over j < i."""
    for g in range(len(words)):
        total = np.uint64(0)
        running[g, 0] = total
        for i in range(len(order)):
            total ^= words[g, order[i]]
            running[g, i + 1] = total


@njit(nogil=True)
@no_type_check
def parities(running, frame, step, start, stop):
    """Of a party's own bits: frame, pass, and the stretch of places, one of each a question."""
    bits = np.empty(len(frame), np.uint8)
    for i in range(len(frame)):
        f = np.int64(frame[i])
        row = running[step[i], f >> 6]
        bits[i] = ((row[stop[i]] ^ row[start[i]]) >> np.uint64(f & 63)) & _ONE
    return bits


@njit(nogil=True)
@no_type_check
def correct(state, opened, f, j):
    """Turns bit j of frame f in all passes so far; False where a leaf of one bit says that it was right before."""
    state.wrong[f >> 6, j] ^= _ONE << np.uint64(f & 63)
    fits = True
    for p in range(opened):
        at = np.int64(state.place[p, j])
        flip(state.turned[f, p], at)
        start = last_until(state.cut[f, p], at)
        flip(state.odd[f, p], start)
        marked = has(state.odd[f, p], start)
        if marked and has(state.cut[f, p], start + 1):
            fits = False
        if len(state.top):
            block = at // state.sizes[p] * state.sizes[p]
            flip(state.top[f, p], block)
            marked = has(state.top[f, p], block)
        state.left[f, p] += 1 if marked else -1
    return fits


@njit(nogil=True)
@no_type_check
def begin(state, first, opened, differences):
    """Takes in the parities of the blocks of passes ``first`` to ``opened``: by pass, then by frame, then by block.

    From the second pass on the last block's parity follows from the others: the number of errors left is even.
    """
    frames, n = len(state.cut), state.order.shape[1]
    at = 0
    for p in range(first, opened):
        for f in range(frames):
            total = np.uint64(0)
            for start in range(0, n, state.sizes[p]):
                flip(state.cut[f, p], start)
                marked = total
                if p == 0 or start + state.sizes[p] < n:
                    marked = np.uint64(differences[at])
                    at += 1
                total ^= marked
                if marked:
                    flip(state.odd[f, p], start)
                    state.left[f, p] += 1
                    if len(state.top):
                        flip(state.top[f, p], start)
            flip(state.cut[f, p], n)
    fits = True
    for p in range(first, opened):
        if (n - 1) % state.sizes[p] == 0:  # the last block has one bit
            for f in range(frames):
                if has(state.odd[f, p], n - 1):
                    fits &= correct(state, opened, f, np.int64(state.order[p, n - 1]))
    return fits


@njit(nogil=True)
@no_type_check
def choose(state, opened, share, frame, step, start, middle, stop):
    """Which leaves to halve next, in every frame those of the first pass that has something left; gives their number.

    From the second pass on only one in ``share`` of them, and at least one: an error in a leaf of a late pass may be
    found for less in an early one.
    """
    count = 0
    for f in range(len(state.cut)):
        p = 0
        while p < opened and state.left[f, p] == 0:
            p += 1
        if p == opened:
            continue
        wanted = state.left[f, p] if p == 0 else max(state.left[f, p] // share, 1)
        at = 0
        for _ in range(wanted):
            if len(state.top):
                block = first_from(state.top[f, p], at)
                a = first_from(state.odd[f, p], block)
                at = block + state.sizes[p]
            else:
                a = first_from(state.odd[f, p], at)
                at = a + 1
            b = first_from(state.cut[f, p], a + 1)
            frame[count], step[count] = f, p
            start[count], middle[count], stop[count] = a, (a + b) // 2, b
            count += 1
    return count


@njit(nogil=True)
@no_type_check
def halve(state, opened, differences, frame, step, start, middle, stop):
    """Takes in the parities of the first halves of leaves; False where they contradict what was known."""
    fits = True
    for i in range(len(differences)):
        f, p = np.int64(frame[i]), np.int64(step[i])
        a, m, b = np.int64(start[i]), np.int64(middle[i]), np.int64(stop[i])
        odd = state.odd[f, p]
        whole = has(odd, a)
        first = np.uint64(differences[i]) ^ parity_between(state.turned[f, p], a, m)
        second = whole ^ first
        flip(state.cut[f, p], m)
        if second:
            flip(odd, a)
            flip(odd, m)
        if not len(state.top):
            state.left[f, p] += np.int64(first + second) - np.int64(whole)
        if first and m == a + 1:
            fits &= correct(state, opened, f, np.int64(state.order[p, a]))
        if second and b == m + 1 and has(odd, m):
            fits &= correct(state, opened, f, np.int64(state.order[p, m]))
    return fits
