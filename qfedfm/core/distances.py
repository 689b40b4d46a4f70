"""Distances between the updates of a cohort, from one centred Gram matrix in float64, and their order.

A float32 product is twice as fast, but overflows on an update of 1e38, and loses the distance of two updates that are
close to each other and far from the centre, which whoever sends the updates can arrange: `qfedfm.core.pairs` uses it
where neither happens.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

_CHUNK = 2**20
"""Numbers in a chunk of columns: 8 MB in float64, which stays in the cache and is worth waking the BLAS threads for."""
_RESOLUTION = 1e-12


def gram(X: Float32[np.ndarray, "n d"], clients: tuple[int, ...]) -> Float64[np.ndarray, "n n"]:
    """G = (X − 1cᵀ)(X − 1cᵀ)ᵀ for a centre c near the updates, in chunks of columns.

    In each chunk c is the row of median norm: while fewer than half of the rows are hostile it is no longer than an
    honest one, so that neither an offset common to all rows nor one huge row costs precision. Rows are taken in the
    order of the client ids, so that another order of the rows gives the same bits.

    Args:
        X: n × d updates; not changed.
        clients: the ids of the rows.

    Returns:
        The n × n matrix of inner products, in the order of the rows.

    Example:
        >>> import numpy as np
        >>> G = gram(np.array([[0, 0], [3, 4], [1, 0]], np.float32), (0, 1, 2))
        >>> float(G[0, 0] + G[1, 1] - 2 * G[0, 1])
        25.0
    """
    n, d = X.shape
    order = np.argsort(np.asarray(clients), kind="stable")
    in_order = bool((order == np.arange(n)).all())
    columns = max(1, _CHUNK // n)
    total = np.zeros((n, n))
    for start in range(0, d, columns):
        chunk = X[:, start : start + columns] if in_order else X[order, start : start + columns]
        Y = chunk.astype(np.float64)
        norms = np.einsum("nd,nd->n", Y, Y)
        Y -= Y[np.argsort(norms, kind="stable")[(n - 1) // 2]].copy()
        total += Y @ Y.T
    if in_order:
        return total
    back = np.argsort(order)
    return np.ascontiguousarray(total[np.ix_(back, back)])


def squared_distances(G: Float64[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
    """‖xᵢ − xⱼ‖² = Gᵢᵢ + Gⱼⱼ − 2Gᵢⱼ; what is below the resolution of float64 beside Gᵢᵢ + Gⱼⱼ counts as 0.

    Args:
        G: inner products as `gram` gives them.

    Returns:
        n × n, symmetric, not negative, 0 on the diagonal and exactly 0 between equal updates.
    """
    norms = np.diagonal(G)
    sums = norms[:, None] + norms[None, :]
    squares = sums - 2 * G
    return np.where(squares > _RESOLUTION * sums, squares, 0.0)


def ranking(values: Float[np.ndarray, "*rows n"], clients: tuple[int, ...]) -> Int64[np.ndarray, "*rows n"]:
    """Positions in ascending order of the values along the last axis; equal values in the order of the client ids.

    Values that agree in their first ten decimal digits are equal, so that rounding does not decide between ties.

    Example:
        >>> import numpy as np
        >>> ranking(np.array([2.0, 1.0, 1.0]), (4, 9, 3)).tolist()
        [2, 1, 0]
    """
    mantissa, exponent = np.frexp(values)
    rounded = np.ldexp(np.rint(np.ldexp(mantissa, 33)), exponent - 33)
    by_id = np.argsort(np.asarray(clients), kind="stable")
    return np.asarray(by_id[np.argsort(rounded[..., by_id], axis=-1, kind="stable")], np.int64)
