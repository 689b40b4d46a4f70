"""The inner loops of the LDPC codes, compiled by numba when they are first called.

A code is lifted from a table of shifts (rows, columns): an entry s ≥ 0 stands for the circulant in which check (row, i)
holds bit (column, (i + s) mod Z), −1 for none. Edges, the entries ≥ 0, are listed layer by layer: edge e has
``columns[e]`` and ``shifts[e]``, those of a layer begin at ``starts[layer]``.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

_CLOSEST = np.float32(1 - 2.0**-20)
"""The largest product of tanh: a check says at most 2^21 : 1."""
_SUREST = np.float32(2.0**80)
_ONE = np.float32(1)


@njit(nogil=True)
@no_type_check
def grow(degrees, rows, lifting):
    """Progressive edge growth: each edge goes where it closes the longest cycle, there to the emptiest row.

    Of equals it takes the check to which the fewest shortest paths lead, then one by an arithmetic that is the same on
    every machine. Cycles of more than six edges count as long where bits have more than three checks. Columns of two
    entries keep long cycles in the table itself: two cycles of it that share a row lift to a closed path of twice their
    length whatever the shifts are, and one through bits of two checks is a codeword.
    """
    columns = len(degrees)
    fullest = -(-degrees.sum() // rows)
    table = np.full((rows, columns), -1, np.int32)
    filled = np.zeros(rows, np.int32)
    depth, paths = np.empty((rows, lifting), np.int32), np.empty((rows, lifting), np.int32)
    number = 1
    for column in range(columns):
        for _ in range(degrees[column]):
            _spread(table, column, depth, paths, lifting * rows if degrees[column] <= 3 else 2)
            number = (number * 1103515245 + 12345) % 2147483648
            tabular = degrees[column] == 2
            row, place = _choose(table[:, column], filled, fullest, depth, paths, number, tabular)
            table[row, column] = (lifting - place) % lifting
            filled[row] += 1
    return table


@njit(nogil=True)
@no_type_check
def _spread(table, column, depth, paths, levels):
    """Distance of every check from bit (column, 0) and the number of shortest paths, a level of distance at a time.

    Checks to which no path leads, or none of so many levels, are far away.
    """
    rows, columns = table.shape
    lifting = depth.shape[1]
    depth[:], paths[:] = 1 << 20, 0
    new = np.zeros((columns, lifting), np.int32)
    fresh = np.ones((columns, lifting), np.int32)
    told = np.empty(lifting, np.int32)
    new[column, 0], fresh[column, 0] = 1, 0
    active, left, level = np.zeros(columns, np.bool_), depth.size, 0
    active[column] = True
    while left and active.any():
        for row in range(rows):
            told[:] = 0
            for c in range(columns):
                shift = table[row, c]
                if shift >= 0 and active[c]:
                    _add(told[: lifting - shift], new[c, shift:])
                    _add(told[lifting - shift :], new[c, :shift])
            left -= _reach(told, depth[row], paths[row], level)
        if level + 1 == levels:
            break
        new[:] = 0
        for row in range(rows):
            told[:] = paths[row] * (depth[row] == level)
            if told.any():
                for c in range(columns):
                    shift = table[row, c]
                    if shift >= 0:
                        _add(new[c, shift:], told[: lifting - shift])
                        _add(new[c, :shift], told[lifting - shift :])
        for c in range(columns):
            new[c] *= fresh[c]
            fresh[c] *= new[c] == 0
            active[c] = new[c].any()
        level += 1


@njit(nogil=True)
@no_type_check
def _add(out, more):
    for i in range(len(out)):
        out[i] += more[i]


@njit(nogil=True)
@no_type_check
def _reach(told, depth, paths, level):
    """Notes the checks of a row that are reached for the first time, and counts them."""
    count = 0
    for i in range(len(told)):
        if told[i] and depth[i] > level:
            depth[i], paths[i] = level, told[i]
            count += 1
    return count


@njit(nogil=True)
@no_type_check
def _choose(entries, filled, fullest, depth, paths, number, tabular):
    """The row and the place in it of the best check for the next edge of a column with these entries."""
    rows, lifting = depth.shape
    best_row, best_place, best_depth = -1, -1, -(1 << 30)
    for r in range(rows):
        row = (r + number) % rows
        if entries[row] >= 0:
            continue
        behind = 1 << 29 if filled[row] >= fullest else 0
        nearest = depth[row].min() if tabular else 0
        for i in range(lifting):
            place = (i + number) % lifting
            away = depth[row, place] + 1024 * min(nearest, 1 << 18) - behind
            better = away > best_depth
            if away == best_depth:
                degree, least = filled[row], filled[best_row]
                ways = paths[row, place] < paths[best_row, best_place]
                better = degree < least or (degree == least and ways)
            if better:
                best_row, best_place, best_depth = row, place, away
    return best_row, best_place


@njit(nogil=True)
@no_type_check
def syndrome(bits, starts, columns, shifts, lifting):
    """Parities of the checks: (layers, Z)."""
    out = np.zeros((len(starts) - 1, lifting), np.uint8)
    for layer in range(len(out)):
        for edge in range(starts[layer], starts[layer + 1]):
            first, shift = columns[edge] * lifting, shifts[edge]
            _flip(out[layer, : lifting - shift], bits[first + shift : first + lifting])
            _flip(out[layer, lifting - shift :], bits[first : first + shift])
    return out


@njit(nogil=True)
@no_type_check
def _flip(out, bits):
    for i in range(len(out)):
        out[i] ^= bits[i]


@njit(nogil=True, error_model="numpy")
@no_type_check
def decode(odds, messages, wanted, starts, columns, shifts, iterations):
    """Sum-product, layer by layer, in odds P(0)/P(1); alters ``odds`` (bits) and ``messages`` (edges, Z).

    Gives the iterations that it took until the bits had the wanted syndrome, or −1.
    """
    lifting = messages.shape[1]
    widest = (starts[1:] - starts[:-1]).max()
    towards = np.empty((widest, lifting), np.float32)
    suffix = np.empty((widest + 1, lifting), np.float32)
    prefix = np.empty(lifting, np.float32)
    hard = np.empty(len(odds), np.uint8)
    for iteration in range(iterations):
        for layer in range(len(starts) - 1):
            first, last = starts[layer], starts[layer + 1]
            _enter(odds, messages, first, last, columns, shifts, towards, suffix)
            _sign(prefix, wanted[layer])
            _leave(odds, messages, first, last, columns, shifts, towards, suffix, prefix)
        _decide(odds, hard)
        if _fulfils(hard, wanted, starts, columns, shifts):
            return iteration + 1
    return -1


@njit(nogil=True)
@no_type_check
def _decide(odds, hard):
    for i in range(len(odds)):
        hard[i] = odds[i] < _ONE


@njit(nogil=True)
@no_type_check
def _fulfils(hard, wanted, starts, columns, shifts):
    lifting = wanted.shape[1]
    parity = np.empty(lifting, np.uint8)
    for layer in range(len(starts) - 1):
        parity[:] = wanted[layer]
        for edge in range(starts[layer], starts[layer + 1]):
            first, shift = columns[edge] * lifting, shifts[edge]
            _flip(parity[: lifting - shift], hard[first + shift : first + lifting])
            _flip(parity[lifting - shift :], hard[first : first + shift])
        if parity.any():
            return False
    return True


@njit(nogil=True)
@no_type_check
def _sign(prefix, wanted):
    for i in range(len(prefix)):
        prefix[i] = _ONE - np.float32(2) * np.float32(wanted[i])


@njit(nogil=True, error_model="numpy")
@no_type_check
def _enter(odds, messages, first, last, columns, shifts, towards, suffix):
    """What the bits tell the checks of a layer, and its products from the last edge backwards."""
    lifting = messages.shape[1]
    suffix[last - first] = _ONE
    for edge in range(last - 1, first - 1, -1):
        begin, shift, j = columns[edge] * lifting, shifts[edge], edge - first
        cut = lifting - shift
        _tanh(odds[begin + shift : begin + lifting], messages[edge, :cut], towards[j, :cut])
        _tanh(odds[begin : begin + shift], messages[edge, cut:], towards[j, cut:])
        _times(suffix[j + 1], towards[j], suffix[j])


@njit(nogil=True, error_model="numpy")
@no_type_check
def _tanh(odds, message, out):
    """tanh(½ ln(odds/message)): the bit without what this check has told it before."""
    for i in range(len(out)):
        out[i] = (odds[i] - message[i]) / (odds[i] + message[i])


@njit(nogil=True)
@no_type_check
def _times(a, b, out):
    for i in range(len(out)):
        out[i] = a[i] * b[i]


@njit(nogil=True, error_model="numpy")
@no_type_check
def _leave(odds, messages, first, last, columns, shifts, towards, suffix, prefix):
    """What the checks of a layer tell the bits."""
    lifting = messages.shape[1]
    for edge in range(first, last):
        begin, shift, j = columns[edge] * lifting, shifts[edge], edge - first
        cut = lifting - shift
        _update(odds[begin + shift : begin + lifting], messages[edge, :cut], prefix[:cut], suffix[j + 1, :cut])
        _update(odds[begin : begin + shift], messages[edge, cut:], prefix[cut:], suffix[j + 1, cut:])
        _times(prefix, towards[j], prefix)


@njit(nogil=True, error_model="numpy")
@no_type_check
def _update(odds, message, before, after):
    """Message (1 + p)/(1 − p), p the product over the check's other bits; the odds change by new over old."""
    least = _ONE / _SUREST
    for i in range(len(odds)):
        product = before[i] * after[i]
        product = product if product < _CLOSEST else _CLOSEST
        product = product if product > -_CLOSEST else -_CLOSEST
        scale = (_ONE + product) / ((_ONE - product) * message[i])
        message[i] *= scale
        bit = odds[i] * scale
        bit = bit if bit < _SUREST else _SUREST
        odds[i] = bit if bit > least else least
