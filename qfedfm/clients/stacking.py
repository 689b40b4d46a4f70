"""Trainable modules that use one set of parameters for each lane of a batch: a lane is the rows of one client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float32

from qfedfm.adapters.masks import Mask
from qfedfm.clients.deltas import plain_delta
from qfedfm.clients.lora import low_rank_forward, plain_pair
from qfedfm.clients.mapped import mapped_forward
from qfedfm.clients.prompts import stack_prompts
from qfedfm.clients.trace import Trace, UnfusableError
from qfedfm.core.layout import Layout


class LaneParameters(threading.local):
    """What the stacked modules read in a pass; each thread has its own.

    A batch has ``rows`` rows, lane by lane, equally many for each; ``tensors`` holds a tensor [lanes, *shape] by
    parameter, or is None for the modules' own parameters.
    """

    def __init__(self) -> None:
        self.tensors: Mapping[str, torch.Tensor] | None = None
        self.rows = 0

    @contextmanager
    def use(self, tensors: Mapping[str, torch.Tensor] | None, rows: int = 0) -> Iterator[None]:
        """Inside, the modules use these."""
        before, self.tensors, self.rows = (self.tensors, self.rows), tensors, rows
        try:
            yield
        finally:
            self.tensors, self.rows = before


def leaves_of(layout: Layout, x: Float32[torch.Tensor, "m d"], *, trained: bool) -> dict[str, torch.Tensor]:
    """The parameters of some lanes by name: views of the matrix that holds them."""
    return {
        entry.name: x[:, entry.start : entry.stop].view(len(x), *entry.shape).detach().requires_grad_(trained)
        for entry in layout
    }


def stack_modules(model: torch.nn.Module, found: Trace) -> tuple[LaneParameters, bool]:
    """Replaces the forward of every owner of trainable parameters, in place, by one that takes them per lane.

    Where all of an owner's parameters have one precision its input is cast to it, and before and inside the transformer
    layers its output is cast back, because the frozen modules around it may be in bfloat16.

    Raises:
        UnfusableError: weights are drawn anew in each step.

    Returns:
        What the modules read, and whether some of them have a lane's parameters put into them while they are called, so
        that they are one thread's at a time.
    """
    current, mapped = LaneParameters(), False
    modules = dict(model.named_modules())
    if any(isinstance(module, Mask) for module in modules.values()):
        raise UnfusableError("a mask is drawn for a client's step, not for each of its rows")
    for owner, names in found.owners.items():
        module = modules[owner]
        pair = plain_pair(module, names)
        if pair is not None:
            forward = low_rank_forward(module, *pair, current)
        elif type(module) is torch.nn.Linear and "weight" in names:
            forward = _linear(module, names, current)
        elif owner in found.prompts:
            module.forward = stack_prompts(modules[found.prompts[owner]], module, names, current)
            mapped = True
            continue
        else:
            plain_delta(module)
            forward = mapped_forward(module, names, current)
            mapped = True
        kinds = {parameter.dtype for parameter in module.parameters()}
        if len(kinds) == 1:
            below_head = bool(found.body) and (owner.startswith(found.body + ".") or owner in found.early)
            forward = _casting(forward, kinds.pop(), below_head)
        module.forward = forward
    return current, mapped


Forward = Callable[..., Any]


def _casting(forward: Forward, dtype: torch.dtype, back: bool) -> Forward:
    def cast(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not x.is_floating_point():
            return forward(x, *args, **kwargs)
        y = forward(x if x.dtype == dtype else x.to(dtype), *args, **kwargs)
        return y.to(x.dtype) if back and y.dtype != x.dtype else y

    return cast


def _linear(module: torch.nn.Module, names: Mapping[str, str], current: LaneParameters) -> Forward:
    """y[k] = x[k] W[k]ᵀ + b[k] for the rows of each lane k, one batched product."""
    plain = module.forward
    weight, bias = names["weight"], names.get("bias")
    frozen: Any = module.bias

    def forward(x: torch.Tensor) -> Any:
        if current.tensors is None:
            return plain(x)
        w = current.tensors[weight]
        flat = x.reshape(w.shape[0], -1, x.shape[-1])
        transposed = w.transpose(1, 2)
        if bias is not None:
            y = torch.baddbmm(current.tensors[bias].unsqueeze(1), flat, transposed)
        else:
            y = torch.bmm(flat, transposed)
            if frozen is not None:
                y = y + frozen
        return y.view(*x.shape[:-1], w.shape[1])

    return forward
