"""Parts of the vector that have client weights of their own."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64, Int64

from qfedfm.core.cohort import Cohort, Reduced
from qfedfm.core.errors import ConfigError
from qfedfm.core.layout import Entry, Layout
from qfedfm.core.sums import weighted_sum

Per = Literal["model", "block", "module"]
"""One distribution for the whole vector, for each semantic block (a transformer layer, a head), or for each module."""


@dataclass(frozen=True)
class Blocks:
    """Disjoint parts of the vector that cover it: Δ = concat_b Σ_k w_k^(b) Δ_k^(b).

    Args:
        names: of the blocks.
        columns: of each block, as few ranges as there can be.
    """

    names: tuple[str, ...]
    columns: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.names)

    @cached_property
    def shares(self) -> Float64[np.ndarray, " b"]:
        """The share of the coordinates that each block has."""
        sizes = np.array([sum(stop - start for start, stop in ranges) for ranges in self.columns], np.float64)
        return np.asarray(sizes / sizes.sum())

    def combined(self, weights: Float64[np.ndarray, "b n"], X: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " d"]:
        """The vector whose block b is the sum of the updates' blocks b under line b of the weights."""
        if self.count == 1:
            return np.asarray(weighted_sum(weights[0], X))
        total = np.empty(X.shape[1], np.float32)
        for line, ranges in zip(weights, self.columns, strict=True):
            for start, stop in ranges:
                total[start:stop] = weighted_sum(line, X[:, start:stop])
        return total

    def slopes(self, gradient: Float32[np.ndarray, " d"], X: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, "b n"]:
        """s_k^(b) = ⟨∇_b L, Δ_k^(b)⟩ = ∂L/∂w_k^(b), in float64, where no product of two float32 numbers overflows."""
        g = gradient.astype(np.float64)
        found = np.empty((self.count, len(X)))
        for k, row in enumerate(X):
            wide = row.astype(np.float64)
            found[:, k] = [sum(wide[a:z] @ g[a:z] for a, z in ranges) for ranges in self.columns]
        return found

    def norms(self, X: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, "b n"]:
        """‖Δ_k^(b)‖ in float64."""
        found = np.empty((self.count, len(X)))
        for k, row in enumerate(X):
            wide = row.astype(np.float64)
            found[:, k] = [np.linalg.norm([np.linalg.norm(wide[a:z]) for a, z in ranges]) for ranges in self.columns]
        return found

    def average(self, weights: Float64[np.ndarray, "b n"]) -> Float64[np.ndarray, " n"]:
        """The weights of the clients over all blocks, each counted by its share of the coordinates."""
        return np.asarray(weights[0] if self.count == 1 else self.shares @ weights)

    def differences(self, weights: Float64[np.ndarray, "b n"]) -> Float64[np.ndarray, " b"]:
        """½ Σ_k |w_k^(b) − w̄_k|: the weight that would have to change hands to give each block the average weights."""
        return np.asarray(0.5 * np.abs(weights - self.average(weights)).sum(axis=1))


@lru_cache(maxsize=32)
def blocks_of(layout: Layout, per: Per) -> Blocks:
    """The blocks of a layout; one of all columns for ``model``.

    Example:
        >>> layout = Layout.of({"layers.0.q": (2,), "layers.0.v": (2,), "layers.1.q": (2,), "head.bias": (1,)})
        >>> blocks_of(layout, "block").names
        ('layers.0', 'layers.1', 'head')
    """
    if per == "model":
        return Blocks(("model",), (((0, layout.size),),))
    named = layout.blocks if per == "block" else layout.modules
    return Blocks(tuple(named), tuple(_ranges(entries) for entries in named.values()))


def _ranges(entries: tuple[Entry, ...]) -> tuple[tuple[int, int], ...]:
    """The tensors' columns, neighbours joined."""
    edges = [entries[0].start]
    for before, after in itertools.pairwise(entries):
        if before.stop != after.start:
            edges += [before.stop, after.start]
    edges.append(entries[-1].stop)
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def scattered(weights: Float64[np.ndarray, "b m"], rows: Int64[np.ndarray, " m"], n: int) -> Float64[np.ndarray, "b n"]:
    """The weights of some rows among those of all n, the others 0."""
    full = np.zeros((len(weights), n))
    full[:, rows] = weights
    return full


def reduced_by_block(
    blocks: Blocks,
    cohort: Cohort,
    vector: Float32[np.ndarray, " d"],
    weights: Float64[np.ndarray, "b n"],
    diagnostics: dict[str, float],
) -> Reduced:
    """A vector with the weights that made it, in the order of the cohort's rows.

    With several blocks it is no weighted sum of the updates, so that it has no row weights. The clients' weights, for
    the report, are then averages over the coordinates, and the diagnostics say how much the blocks differ from them:
    ``block_difference`` on average over the coordinates and ``largest_block_difference``, from 0 to 1.
    """
    if blocks.count == 1:
        return Reduced(vector, weights[0], diagnostics=diagnostics)
    apart = blocks.differences(weights)
    diagnostics |= {
        "blocks": float(blocks.count),
        "block_difference": float(blocks.shares @ apart),
        "largest_block_difference": float(apart.max()),
    }
    named = dict(zip(cohort.clients, blocks.average(weights).tolist(), strict=True))
    return Reduced(vector, None, named, diagnostics)


def check_per(per: str) -> None:
    """Refuses what is no way to share out distributions.

    Raises:
        ConfigError: it is none of `Per`.
    """
    if per not in get_args(Per):
        raise ConfigError(f"per = {per!r}", f"one of {', '.join(get_args(Per))}")
