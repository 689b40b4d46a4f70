"""What the statevector engine does alike on numpy arrays (least overhead a call) and torch tensors (large, CUDA)."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch

Array: TypeAlias = Any
"""A numpy array or a torch tensor; the constants of a plan are of the same kind as the state (see `moved`)."""
T = TypeVar("T")


def library(array: Array) -> Any:
    """The module whose functions take the array: numpy or torch."""
    return np if isinstance(array, np.ndarray) else torch


def is_complex(array: Array) -> bool:
    """Whether the numbers are complex."""
    return np.iscomplexobj(array) if isinstance(array, np.ndarray) else bool(array.is_complex())


def gather(state: Array, index: Array) -> Array:
    """state[…, index]."""
    return state.take(index, axis=-1) if isinstance(state, np.ndarray) else state.index_select(-1, index)


def dagger(matrices: Array) -> Array:
    """The conjugate transposes of a stack of matrices."""
    return matrices.conj().swapaxes(-1, -2)


def act(matrices: Array, states: Array, low: int) -> Array:
    """Applies d × d matrices, one for each line of states, to the bits from ``low`` on.

    Args:
        matrices: b × d × d.
        states: b × … with 2ⁿ amplitudes in the last axis.
        low: 2 to the power of the lowest bit that is acted on.
    """
    batch, d = matrices.shape[:2]
    if low == 1:
        return (states.reshape(batch, -1, d) @ matrices.swapaxes(1, 2)).reshape(states.shape)
    view = states.reshape(batch, -1, d, low)
    if view.shape[1] == 1:
        return (matrices @ view[:, 0]).reshape(states.shape)
    return (matrices[:, None] @ view).reshape(states.shape)


def overlap(state: Array, cotangent: Array, d: int, low: int) -> Array:
    """Σ ψ λ† over all bits but log₂ d ones from ``low`` on, b × d × d, of b × 2ⁿ amplitudes each."""
    batch = state.shape[0]
    if low == 1:
        return state.reshape(batch, -1, d).swapaxes(1, 2) @ cotangent.conj().reshape(batch, -1, d)
    products = state.reshape(batch, -1, d, low) @ dagger(cotangent.reshape(batch, -1, d, low))
    return products[:, 0] if products.shape[1] == 1 else products.sum(1)


def moved(constants: T, device: torch.device) -> T:
    """The same dataclass, or tuple of them, with every numpy array in it as a tensor on the device."""
    found: Any = constants
    if isinstance(constants, np.ndarray):
        found = torch.from_numpy(constants).to(device)
    elif isinstance(constants, tuple):
        found = tuple(moved(item, device) for item in constants)
    elif dataclasses.is_dataclass(constants) and not isinstance(constants, type):
        fields = {item.name: moved(getattr(constants, item.name), device) for item in dataclasses.fields(constants)}
        found = dataclasses.replace(constants, **fields)
    return found  # type: ignore[no-any-return]
