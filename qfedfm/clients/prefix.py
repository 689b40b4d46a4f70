"""What lies below the lowest trainable module, computed once for each row and kept.

A row's hidden states do not depend on which rows were asked for before: all rows are sorted by (length, row) and cut
into fixed chunks once, and a chunk is always computed whole, because a matrix product of another shape may round
differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from qfedfm.clients.batching import cut
from qfedfm.clients.trace import Prefix
from qfedfm.tasks.protocol import Task


class _ReachedError(Exception):
    """Raised inside the model once the hidden states are known, to leave out the rest of the pass."""


class Bypass:
    """Makes a model's prefix capture its result, or be passed over with a given one. Alters the model in place."""

    def __init__(self, model: torch.nn.Module, prefix: Prefix) -> None:
        self.given: torch.Tensor | None = None
        self._capturing = False
        self._captured: torch.Tensor | None = None
        self._wrapped = prefix.wrapped
        modules = dict(model.named_modules())
        if prefix.source:
            self._patch(modules[prefix.source], wrapped=False, last=False)
        for name in prefix.layers:
            self._patch(modules[name], wrapped=prefix.wrapped, last=name == prefix.layers[-1])

    def _patch(self, module: torch.nn.Module, *, wrapped: bool, last: bool) -> None:
        plain = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if self.given is not None:
                return (self.given,) if wrapped else self.given
            output = plain(*args, **kwargs)
            if last and self._capturing:
                self._captured = output[0] if wrapped else output
                raise _ReachedError
            return output

        module.forward = forward

    @contextmanager
    def using(self, hidden: torch.Tensor | None) -> Iterator[None]:
        """Inside, the prefix yields these hidden states instead of computing them; None computes."""
        self.given = hidden
        try:
            yield
        finally:
            self.given = None

    def capture(self, task: Task, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The hidden states above the prefix, [rows, tokens, hidden], without autograd."""
        self._capturing = True
        try:
            with torch.no_grad():
                task.forward(model, inputs)
        except _ReachedError:
            pass
        finally:
            self._capturing = False
        captured, self._captured = self._captured, None
        if captured is None:
            raise RuntimeError("the model did not run the layers that it ran before")
        return captured.detach()


class PrefixCache:
    """Hidden states above the prefix by row, filled chunk by chunk when first needed.

    Which rows are kept depends on the rows and the cap only: chunks are admitted in order (short rows first) as long as
    they fit. The others are computed anew each time, by the caller.

    Args:
        task: collates rows and calls the model.
        model: altered in place by ``bypass``.
        bypass: of that model.
        lengths: of every row of the task.
        rows: the rows worth keeping; others are never kept.
        token_bytes: bytes of hidden states for one token.
        cap: the most bytes to keep.
        tokens: budget of a chunk.
        device: where the model runs.
    """

    def __init__(
        self,
        task: Task,
        model: torch.nn.Module,
        bypass: Bypass,
        *,
        lengths: Int64[np.ndarray, " n"],
        rows: np.ndarray,
        token_bytes: int,
        cap: int,
        tokens: int,
        device: torch.device,
    ) -> None:
        self._task, self._model, self._bypass, self._device = task, model, bypass, device
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

    def hidden(self, rows: np.ndarray, mask: torch.Tensor | None) -> Float[torch.Tensor, "n t h"]:
        """The hidden states of kept rows, laid out as the attention mask says, zero where it is zero."""
        for chunk in np.unique(self._chunk_of[rows]):
            if int(self._chunks[chunk][0]) not in self._kept:
                self._fill(self._chunks[chunk])
        parts = [self._kept[int(row)] for row in rows]
        if mask is None:
            return torch.stack(parts)
        packed = torch.cat(parts)
        if len(packed) == mask.numel():
            return packed.view(*mask.shape, -1)
        laid = packed.new_zeros(mask.numel(), packed.shape[-1])
        laid[mask.reshape(-1).nonzero().squeeze(1)] = packed
        return laid.view(*mask.shape, -1)

    def _fill(self, chunk: np.ndarray) -> None:
        inputs = {name: tensor.to(self._device) for name, tensor in self._task.collate(chunk).inputs.items()}
        hidden = self._bypass.capture(self._task, self._model, inputs)
        mask = inputs.get("attention_mask")
        if mask is None:
            parts = list(hidden)
        else:
            counts = mask.bool().sum(1).tolist()
            parts = list(hidden[mask.bool()].split(counts))  # type: ignore[no-untyped-call]
        self._kept |= dict(zip(chunk.tolist(), parts, strict=True))
