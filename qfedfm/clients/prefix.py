"""What lies below the lowest trainable module, computed once for each row and kept.

A row's hidden states do not depend on which rows were asked for before: all rows are sorted by (length, row) and cut
into fixed chunks once, and a chunk is always computed whole, because a matrix product of another shape may round
differently.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from qfedfm.clients.batching import cut
from qfedfm.clients.trace import Prefix
from qfedfm.clients.workers import side_by_side


class ReachedError(Exception):
    """Raised inside the model once the hidden states above the prefix are known, to leave out the rest of the pass."""

    def __init__(self, states: torch.Tensor) -> None:
        self.states = states


def states_above(call: Callable[[], object]) -> torch.Tensor:
    """The hidden states with which a pass over the model was left, without autograd.

    Raises:
        RuntimeError: the pass came to its end.
    """
    try:
        with torch.no_grad():
            call()
    except ReachedError as reached:
        return reached.states
    raise RuntimeError("the model did not run the layers that it ran before")


class _Now(threading.local):
    """What a prefix is to do; each thread has its own."""

    def __init__(self) -> None:
        self.given: torch.Tensor | None = None
        self.capturing = False


class Bypass:
    """Makes a model's prefix capture its result, or be passed over with a given one. Alters the model in place."""

    def __init__(self, model: torch.nn.Module, prefix: Prefix) -> None:
        self._now = _Now()
        modules = dict(model.named_modules())
        if prefix.source:
            self._patch(modules[prefix.source], wrapped=False, last=False)
        for name in prefix.layers:
            self._patch(modules[name], wrapped=prefix.wrapped, last=name == prefix.layers[-1])

    def _patch(self, module: torch.nn.Module, *, wrapped: bool, last: bool) -> None:
        plain = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            given = self._now.given
            if given is not None:
                return (given,) if wrapped else given
            output = plain(*args, **kwargs)
            if last and self._now.capturing:
                raise ReachedError(output[0] if wrapped else output)
            return output

        module.forward = forward

    @contextmanager
    def using(self, hidden: torch.Tensor | None) -> Iterator[None]:
        """Inside, the prefix yields these hidden states instead of computing them; None computes."""
        self._now.given = hidden
        try:
            yield
        finally:
            self._now.given = None

    def capture(self, call: Callable[[], object]) -> torch.Tensor:
        """The hidden states above the prefix, [rows, tokens, hidden], of a pass over the model, without autograd."""
        self._now.capturing = True
        try:
            return states_above(call)
        finally:
            self._now.capturing = False


class PrefixCache:
    """Hidden states above the prefix by row, filled chunk by chunk when first needed.

    Which rows are kept depends on the rows and the cap only: chunks are admitted in order (short rows first) as long as
    they fit. The others are computed anew each time, by the caller.

    Args:
        compute: hidden states of some rows above the prefix, a tensor [tokens, hidden] for each row, without padding.
        lengths: of every row of the task.
        rows: the rows worth keeping; others are never kept.
        token_bytes: bytes of hidden states for one token.
        cap: the most bytes to keep.
        tokens: budget of a chunk.
    """

    def __init__(
        self,
        compute: Callable[[np.ndarray], Sequence[torch.Tensor]],
        *,
        lengths: Int64[np.ndarray, " n"],
        rows: np.ndarray,
        token_bytes: int,
        cap: int,
        tokens: int,
    ) -> None:
        self._compute = compute
        rows = np.unique(rows)
        self._chunks: list[np.ndarray] = []
        self._chunk_of = np.full(len(lengths), -1)
        used = 0
        for positions in cut(lengths[rows], tokens):
            chunk = rows[positions]
            used += int(lengths[chunk].sum()) * token_bytes
            if used > cap:
                break
            self._chunk_of[chunk] = len(self._chunks)
            self._chunks.append(chunk)
        self._kept: dict[int, torch.Tensor] = {}

    def covers(self, rows: np.ndarray) -> Bool[np.ndarray, " n"]:
        """Which of the rows are kept; the answer never changes."""
        return np.asarray(self._chunk_of[rows] >= 0)

    def fill(self, rows: np.ndarray, workers: int) -> None:
        """Computes what is missing of some rows; those that are never kept are passed over."""
        chunks = [self._chunks[chunk] for chunk in np.unique(self._chunk_of[rows]) if chunk >= 0]
        missing = [members for members in chunks if int(members[0]) not in self._kept]
        for members, states in zip(missing, side_by_side(self._compute, missing, workers), strict=True):
            self._kept |= dict(zip(members.tolist(), states, strict=True))

    def packed(self, rows: np.ndarray) -> Float[torch.Tensor, "tokens hidden"]:
        """The hidden states of kept rows, end to end."""
        self.fill(rows, 1)
        return torch.cat([self._kept[int(row)] for row in rows])


def laid(packed: Float[torch.Tensor, "tokens h"], mask: Bool[torch.Tensor, "n t"]) -> Float[torch.Tensor, "n t h"]:
    """Packed rows laid out as a mask says, zero where it is false."""
    if len(packed) == mask.numel():
        return packed.view(*mask.shape, -1)
    found = packed.new_zeros(mask.numel(), packed.shape[-1])
    found[mask.reshape(-1).nonzero().squeeze(1)] = packed
    return found.view(*mask.shape, -1)
