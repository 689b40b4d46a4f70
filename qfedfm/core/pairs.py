"""The squared distances of all pairs of rows: computed once for a cohort, in float32 where it decides nothing."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from qfedfm.core.distances import gram, ranking, squared_distances
from qfedfm.core.threads import over_strips

_CHEAP = 2**26
"""Products n²d that float64 does in a few milliseconds."""
_CHUNK = 2048
_ERROR = 2.0**-17
"""Of a float32 inner product in chunks, beside the norms: 2e-8 is usual, 7e-6 is what constant rows reach."""
_CLOSE = 0.25
_FEW = 1 / 40
"""Pairs, as a part of n², that are cheaper one by one in float64 than all together."""
_RESOLVED = 1e-9
"""Of the norms: smaller distances between mixtures are computed from the mixtures."""
_SMALLEST, _LARGEST = 1e-30, 1e36
"""Squared norms of a chunk between which no float32 product that matters underflows or overflows."""
_PROBE = 256


@dataclass(frozen=True)
class Distances:
    """‖xᵢ − xⱼ‖² for all pairs of rows, with bounds on the errors.

    Args:
        squares: symmetric, 0 on the diagonal and between equal rows.
        errors: at most so far from the true ones; 0 where float64 was used.
        products: inner products of the rows around some centre, None where they are less exact than the squares.
        X: the rows, to compute a pair again.
        clients: the ids of the rows, which decide between ties.
    """

    squares: Float64[np.ndarray, "n n"]
    errors: Float64[np.ndarray, "n n"]
    products: Float64[np.ndarray, "n n"] | None
    X: Float32[np.ndarray, "n d"]
    clients: tuple[int, ...]

    def settled(self, pairs: Bool[np.ndarray, "n n"]) -> Distances:
        """The same with these pairs in float64; with all pairs, where there are many."""
        n = len(self.clients)
        rows, columns = np.nonzero(np.triu((pairs | pairs.T) & (self.errors > 0), 1))
        if not len(rows):
            return self
        if len(rows) > _FEW * n * n:
            return exact_distances(self.X, self.clients)
        squares, errors = self.squares.copy(), self.errors.copy()
        squares[rows, columns] = squares[columns, rows] = _pairs(self.X, rows, columns)
        errors[rows, columns] = errors[columns, rows] = 0
        return replace(self, squares=squares, errors=errors, products=None)

    def nearest(self, count: int) -> Bool[np.ndarray, "n n"]:
        """For each row, which ``count`` rows are nearest to it, itself among them; ties in the order of the ids."""
        known = self.settled(doubtful(self.squares, self.errors, count))
        if known is not self:
            return known.nearest(count)
        chosen = np.zeros(self.squares.shape, bool)
        np.put_along_axis(chosen, ranking(self.squares, self.clients)[:, :count], True, axis=1)
        return chosen

    def gram(self, row: int) -> Float64[np.ndarray, "n n"]:
        """Inner products around one row: beside it a huge row's distance does not drown the others."""
        G = gram(self.X, self.clients) if self.products is None else self.products
        around = G - G[:, row, None] - G[row] + G[row, row]
        around[row] = around[:, row] = 0
        return np.asarray(around)

    def mixed(self, mixing: Float64[np.ndarray, "m n"], X: Float32[np.ndarray, "m d"]) -> Distances | None:
        """The distances between the rows X = M·x, from these alone; None where they cannot tell.

        With the inner products G of x around a row, those of X are M·G·Mᵀ where the rows of M sum to one. The errors
        are those of the rows by which two mixtures differ.
        """
        row = int(np.median(self.squares, axis=1).argmin())
        from_row = self.squares[row]
        around = self.gram(row) if self.products is not None else (from_row[:, None] + from_row - self.squares) / 2
        G = mixing @ around @ mixing.T
        G = (G + G.T) / 2
        squares = squared_distances(G)
        norms = np.diagonal(G)
        same = np.unique(mixing, axis=0, return_inverse=True)[1].reshape(-1)
        equal = same[:, None] == same
        if (~equal & (squares <= _RESOLVED * (norms[:, None] + norms))).any():
            return None
        products = None if self.products is None else G
        return Distances(np.where(equal, 0.0, squares), np.zeros_like(squares), products, X, self.clients)


def doubtful(
    values: Float[np.ndarray, "*rows n"], errors: Float[np.ndarray, "*rows n"], count: int
) -> Bool[np.ndarray, "*rows n"]:
    """Which values may lie on either side of the boundary between the ``count`` smallest and the others."""
    if count >= values.shape[-1]:
        return np.zeros(values.shape, bool)
    ordered = np.sort(values, axis=-1)
    boundary = (ordered[..., count - 1, None] + ordered[..., count, None]) / 2
    return np.asarray(np.abs(values - boundary) <= errors)


def exact_distances(X: Float32[np.ndarray, "n d"], clients: tuple[int, ...]) -> Distances:
    """All pairs in float64."""
    G = gram(X, clients)
    return Distances(squared_distances(G), np.zeros_like(G), G, X, clients)


def distances(X: Float32[np.ndarray, "n d"], clients: tuple[int, ...]) -> Distances:
    """All pairs from float32 products and float64 sums over chunks of columns, where that is safe.

    A chunk in which products would overflow or underflow, and pairs whose distance is small beside their norms, are
    computed in float64; so is everything where that takes no time.

    Args:
        X: n × d updates; not changed.
        clients: the ids of the rows; another order of the rows gives the same bits.
    """
    n, d = X.shape
    if n * n * d <= _CHEAP:
        return exact_distances(X, clients)
    rows = _by_id(clients)
    centred = _should_centre(X, rows)
    if centred is None:
        return exact_distances(X, clients)
    G = _products(X, rows, centred)
    norms = np.diagonal(G)
    sums = norms[:, None] + norms
    squares = np.maximum(sums - 2 * G, 0.0)
    errors = _ERROR * sums
    np.fill_diagonal(errors, 0.0)
    return Distances(squares, errors, G, X, clients).settled(squares < _CLOSE * sums)


def inner_products(X: Float32[np.ndarray, "n d"], clients: tuple[int, ...]) -> Float64[np.ndarray, "n n"]:
    """xᵢ · xⱼ of all pairs, around the origin: float32 products within chunks of columns and float64 sums of them.

    Off by at most 2⁻¹⁷ ‖xᵢ‖ ‖xⱼ‖, usually by 2e-8 of it. A chunk in which products would overflow or underflow is
    computed in float64.

    Args:
        X: n × d updates; not changed.
        clients: the ids of the rows; another order of the rows gives the same bits.

    Example:
        >>> inner_products(np.array([[3, 4], [-1, 0]], np.float32), (0, 1)).tolist()
        [[25.0, -3.0], [-3.0, 1.0]]
    """
    return _products(X, _by_id(clients), False)


def _by_id(clients: tuple[int, ...]) -> Int64[np.ndarray, " n"] | None:
    """The rows in ascending order of the ids; None where they are in this order."""
    order = np.argsort(np.asarray(clients), kind="stable")
    return None if (order == np.arange(len(order))).all() else order


def _products(
    X: Float32[np.ndarray, "n d"], order: Int64[np.ndarray, " n"] | None, centred: bool
) -> Float64[np.ndarray, "n n"]:
    """Inner products in float32, strip by strip, of rows that are taken in an order and given back in their own."""
    d = X.shape[1]
    G = functools.reduce(np.add, over_strips(d, lambda a, b: _gram32(X[:, a:b], order, centred), _CHUNK))
    if order is None:
        return G
    back = np.argsort(order)
    return np.ascontiguousarray(G[np.ix_(back, back)])


def _should_centre(X: Float32[np.ndarray, "n d"], order: Int64[np.ndarray, " n"] | None) -> bool | None:
    """Whether fewer pairs are close beside their distance from the mean than from the origin, on some columns.

    None where float32 would be lost labour: squares out of its range, or too many close pairs either way.
    """
    d = X.shape[1]
    sample = np.concatenate([X[:, start : start + _PROBE] for start in range(0, d, max(d // 8, _PROBE))], axis=1)
    sample = (sample if order is None else sample[order]).astype(np.float64)
    norms = np.einsum("nd,nd->n", sample, sample)
    if norms.max() > _LARGEST or ((norms > 0) & (norms < _SMALLEST)).any():
        return None
    plain, centred = _close(sample), _close(sample - sample.mean(axis=0))
    return None if min(plain, centred) > _FEW * len(X) ** 2 else centred < plain


def _close(Y: Float64[np.ndarray, "n d"]) -> int:
    """Pairs whose distance is small beside their norms."""
    G = Y @ Y.T
    sums = np.diagonal(G)[:, None] + np.diagonal(G)
    return int(np.triu(sums - 2 * G < _CLOSE * sums, 1).sum())


def _gram32(
    X: Float32[np.ndarray, "n d"], order: Int64[np.ndarray, " n"] | None, centred: bool
) -> Float64[np.ndarray, "n n"]:
    """Inner products of one strip; the centre of each chunk is its own, which no distance depends on."""
    n = len(X)
    total, mean = np.zeros((n, n)), np.full(n, 1 / n, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, X.shape[1], _CHUNK):
            chunk = X[:, start : start + _CHUNK]
            chunk = chunk if order is None else chunk[order]
            Y = chunk - mean @ chunk if centred else chunk
            products = Y @ Y.T
            norms = np.diagonal(products)
            small = norms < _SMALLEST
            if not norms.max() <= _LARGEST or (small.any() and Y[small].any()):
                wide = chunk.astype(np.float64)
                products = wide @ wide.T
            total += products
    return total


def _pairs(
    X: Float32[np.ndarray, "n d"], rows: Int64[np.ndarray, " p"], columns: Int64[np.ndarray, " p"]
) -> Float64[np.ndarray, " p"]:
    """‖xᵢ − xⱼ‖² of some pairs, each by its differences in float64."""

    def squares(start: int, stop: int) -> Float64[np.ndarray, " p"]:
        strip = X[:, start:stop]
        found = np.empty(len(rows))
        for pair, (i, j) in enumerate(zip(rows, columns, strict=True)):
            difference = strip[i].astype(np.float64)
            difference -= strip[j]
            found[pair] = difference @ difference
        return found

    return np.asarray(np.sum(over_strips(X.shape[1], squares), axis=0))
