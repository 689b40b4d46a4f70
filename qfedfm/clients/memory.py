"""How many clients are trained at once, how long a pass is and how much is kept, within a memory budget.

Counted is what the client engine holds: the frozen base, what a pass keeps for its way back, the kept hidden states and
the matrices of all clients at work. The interpreter, the libraries and the data come on top (about 0.6 GB).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from qfedfm.clients.plan import Plan
from qfedfm.core.errors import ConfigError

VECTORS = 10
"""Vectors of a client at work: parameters, start, gradient, that of a pass, moments, a correction, three in passing."""
MARGIN = 1.25
"""A pass may be this much longer than its budget of tokens, and allocators round up."""


@dataclass(frozen=True)
class Needs:
    """What the engine was found to need, in bytes.

    Args:
        base: the model.
        token: what a pass keeps for each of its tokens.
        lane: the vectors of a client at work.
        cache: hidden states of all rows that are worth keeping.
        longest: tokens of the longest row.
    """

    base: int
    token: int
    lane: int
    cache: int
    longest: int


class SavedBytes:
    """Inside, counts the bytes that autograd keeps for the way back, without what is held anyway.

    Args:
        held: tensors that exist in any case.
    """

    def __init__(self, held: Iterable[torch.Tensor]) -> None:
        self._sizes: dict[int, int] = {}
        self._held = {tensor.untyped_storage().data_ptr() for tensor in held}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    @property
    def total(self) -> int:
        """Bytes so far."""
        return sum(self._sizes.values())

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._held:
            self._sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    def __enter__(self) -> SavedBytes:
        self._hooks.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.__exit__(*_)


def budget(memory: int | None, device: torch.device) -> int:
    """Bytes that the engine may use: as told, or 4 GB, or on a GPU three quarters of its memory."""
    if memory is not None:
        return memory
    if device.type == "cuda":
        return int(0.75 * torch.cuda.get_device_properties(device).total_memory)
    return 4 * 10**9


def fitted(plan: Plan, needs: Needs, memory: int) -> Plan:
    """The plan with as many lanes, tokens and kept bytes as fit.

    A quarter of what the base leaves may hold hidden states, a half the passes at work; the rest is for clients. Kept
    hidden states are given up first, then passes get shorter, down to one row, and come one after the other.

    Raises:
        ConfigError: one client with a pass of one row does not fit.
    """
    left = memory - needs.base
    row = int(MARGIN * needs.longest * needs.token)
    if left < row + needs.lane:
        given = f"engine.memory of {_megabytes(memory)}"
        remedy = "raise engine.memory, or take fewer tokens a row or a smaller model"
        raise ConfigError(given, f"at least {_megabytes(needs.base + row + needs.lane + 10**6)} for one client", remedy)
    if left < plan.workers * row + needs.lane:
        plan = replace(plan, workers=1)
    token, row = plan.workers * needs.token, plan.workers * row
    tokens, room = plan.micro_batch_tokens, min(max(left / 2, row), left - needs.lane)
    while tokens > needs.longest and MARGIN * tokens * token > room:
        tokens = max(needs.longest, tokens // 2)
    left -= int(MARGIN * max(tokens, needs.longest) * token)
    cache = max(0, min(needs.cache, left // 2, left - needs.lane))
    lanes = max(1, (left - cache) // needs.lane)
    return replace(plan, micro_batch_tokens=tokens, lanes=int(min(lanes, 2**16)), cache_bytes=int(cache))


@contextmanager
def guarded() -> Iterator[None]:
    """Inside, a device that runs out of memory (others may use it as well) is an error that says what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        remedy = "lower engine.memory, or free the device; the run goes on with --resume"
        raise ConfigError(f"less memory on the device than engine.memory says ({reason})", "", remedy) from None


def _megabytes(size: int) -> str:
    return f"{size // 10**6} MB"
