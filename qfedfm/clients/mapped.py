"""Any module as a function of its parameters, with one set of them for each lane of a batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.func import functional_call, vmap

from qfedfm.adapters.dropout import RowSeeds, current_seeds, using
from qfedfm.clients.trace import UnfusableError

Forward = Callable[..., Any]


def mapped_forward(module: torch.nn.Module, names: Mapping[str, str], current: Any) -> Forward:
    """The module's forward over lanes: every tensor of m·b rows is seen as [m, b, …], and the module sees b rows.

    One ``vmap`` where the module allows it; else, from its first call on, one lane after the other: a module that
    writes into constants, has an ``autograd.Function`` without a rule, or runs a kernel that none was written for.

    Args:
        module: called with rows along the first axis of its tensors.
        names: its parameters, local name → full name.
        current: the tensors [lanes, *shape] by full name, or None for the plain forward.
    """
    plain = module.forward
    run: list[Callable[..., Any]] = []

    def forward(*args: Any, **kwargs: Any) -> Any:
        if current.tensors is None:
            return plain(*args, **kwargs)
        lanes = {local: current.tensors[full] for local, full in names.items()}
        count = len(next(iter(lanes.values())))
        values = _by_lane([*args, *kwargs.values()], current.rows, count)

        def one(parameters: dict[str, torch.Tensor], seeds: Any, positions: Any, *given: Any) -> Any:
            with using(None if seeds is None else RowSeeds(seeds, positions)):
                named = dict(zip(kwargs, given[len(args) :], strict=True))
                return functional_call(module, parameters, given[: len(args)], named)

        with current.use(None):
            if not run:
                run.append(_map if _mappable(one, lanes, values) else _loop)
            output = run[0](one, lanes, values)
        if not isinstance(output, torch.Tensor):
            raise UnfusableError(f"{type(module).__name__} returns {type(output).__name__} instead of one tensor")
        # What no row went into (embeddings of positions) is the same for all rows of a lane.
        each = current.rows // count if output.shape[1] == 1 else 1
        return output.flatten(0, 1).repeat_interleave(each, 0) if each > 1 else output.flatten(0, 1)

    return forward


def _by_lane(values: Sequence[Any], rows: int, lanes: int) -> list[tuple[Any, int | None]]:
    """Each value with the axis of its lanes (None: the same for all); first the seeds and positions of the rows."""
    drawn = current_seeds()
    found: list[tuple[Any, int | None]] = []
    for value in [drawn and drawn.seeds, drawn and drawn.positions, *values]:
        if isinstance(value, torch.Tensor) and value.dim() and len(value) == rows:
            found.append((value.reshape(lanes, -1, *value.shape[1:]), 0))
        else:
            found.append((value, None))
    return found


def _map(one: Forward, lanes: Mapping[str, torch.Tensor], values: Sequence[tuple[Any, int | None]]) -> Any:
    axes = [axis for _, axis in values]
    return vmap(one, in_dims=(0, *axes))(dict(lanes), *(value for value, _ in values))


def _loop(one: Forward, lanes: Mapping[str, torch.Tensor], values: Sequence[tuple[Any, int | None]]) -> Any:
    count = len(next(iter(lanes.values())))
    outputs = [
        one({name: tensor[i] for name, tensor in lanes.items()}, *(v if axis is None else v[i] for v, axis in values))
        for i in range(count)
    ]
    return torch.stack(outputs) if isinstance(outputs[0], torch.Tensor) else outputs[0]


def _mappable(one: Forward, lanes: Mapping[str, torch.Tensor], values: Sequence[tuple[Any, int | None]]) -> bool:
    """Whether ``vmap`` takes the module; a warning that it would take a slow path of its own counts as no."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("error", "There is a performance drop")
        try:
            _map(one, lanes, values)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError, NotImplementedError, UserWarning):
            return False
    return True
