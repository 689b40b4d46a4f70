"""What the statevector engine does alike on numpy arrays (least overhead a call) and torch tensors (large, CUDA)."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from jaxtyping import Float64

Array: TypeAlias = Any
"""A numpy array or a torch tensor; the constants of a plan are of the same kind as the state (see `moved`)."""
T = TypeVar("T")
_LARGE = 2**14
"""Amplitudes from which on real matrices are applied in parts."""
_PART = 256
"""Rows or columns of a part."""


def library(array: Array) -> Any:
    """The module whose functions take the array: numpy or torch."""
    return np if isinstance(array, np.ndarray) else torch


def blank(like: Array, shape: tuple[int, ...]) -> Array:
    """An array of the same kind of numbers in the same place, not filled."""
    return np.empty(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_empty(shape)


def is_complex(array: Array) -> bool:
    """Whether the numbers are complex."""
    return array.dtype.kind == "c" if isinstance(array, np.ndarray) else bool(array.is_complex())


def gather(state: Array, index: Array, out: Array | None = None) -> Array:
    """state[…, index], into ``out`` if given."""
    if isinstance(state, np.ndarray):
        return state.take(index, -1, out, "raise" if out is None else "clip")  # "raise" would copy ``out``
    return torch.index_select(state, -1, index, out=out)


def chosen(array: Array, index: Array) -> Array:
    """array[:, index], for numpy by its fastest way."""
    return array.take(index, 1) if isinstance(array, np.ndarray) else array[:, index]


def reals(array: Array) -> Array:
    """Complex numbers as pairs of real ones, in the same memory: the last axis becomes twice as long."""
    return array.view(np.float64) if isinstance(array, np.ndarray) else torch.view_as_real(array).flatten(-2)


def squares(states: Array) -> Array:
    """|ψ|² of each amplitude."""
    if not is_complex(states):
        return states * states
    parts = reals(states) ** 2
    return parts[..., ::2] + parts[..., 1::2]


def dagger(matrices: Array) -> Array:
    """The conjugate transposes of a stack of matrices."""
    return matrices.conj().swapaxes(-1, -2)


def act(matrices: Array, states: Array, low: int, out: Array) -> None:
    """Applies d × d matrices, one for each line of states, to the bits from ``low`` on.

    Args:
        matrices: b × d × d; real ones act on the real and the imaginary parts of complex states alike.
        states: b × … with 2ⁿ amplitudes in the last axis.
        low: 2 to the power of the lowest bit that is acted on.
        out: for the result, other memory than that of ``states``.
    """
    batch, d = matrices.shape[:2]
    if states.shape[-1] >= _LARGE and isinstance(states, np.ndarray) and not is_complex(matrices):
        _act_in_parts(matrices, states, low, out)
        return
    if matrices.dtype != states.dtype:
        states, out, low = reals(states), reals(out), 2 * low
    if low == 1:
        shape = batch, -1, d
        library(states).matmul(states.reshape(shape), matrices.swapaxes(1, 2), out=out.reshape(shape))
    elif states.ndim == 2 and states.shape[1] == d * low:
        shape = batch, d, low
        library(states).matmul(matrices, states.reshape(shape), out=out.reshape(shape))
    else:
        blocks = batch, -1, d, low
        library(states).matmul(matrices[:, None], states.reshape(blocks), out=out.reshape(blocks))


def _act_in_parts(matrices: Float64[np.ndarray, "b d d"], states: np.ndarray, low: int, out: np.ndarray) -> None:
    """`act` in products of a size that BLAS computes in place; of larger ones it would make copies first."""
    batch, d = matrices.shape[:2]
    pairs = is_complex(states)
    if pairs:
        states, out = reals(states), reals(out)
    if low == 1:
        right = matrices.swapaxes(1, 2)
        if pairs:  # ⊗ 1: a real and an imaginary part are next to each other
            right = (right[:, :, None, :, None] * np.eye(2)[:, None]).reshape(batch, 2 * d, 2 * d)
        rows = batch, -1, _PART, right.shape[-1]
        np.matmul(states.reshape(rows), np.ascontiguousarray(right)[:, None], out=out.reshape(rows))
    else:
        columns = 2 * low if pairs else low
        width = min(columns, _PART)
        blocks = batch, -1, d, columns // width, width
        into = out.reshape(blocks).swapaxes(2, 3)
        np.matmul(matrices[:, None, None], states.reshape(blocks).swapaxes(2, 3), out=into)


def overlap(state: Array, cotangent: Array, d: int, low: int, real: bool) -> Array:
    """Σ ψ λ† over all bits but log₂ d ones from ``low`` on, or its real part: b × d × d, of b × 2ⁿ amplitudes each."""
    batch, split = state.shape[0], real and is_complex(state)
    if low == 1:
        products = state.reshape(batch, -1, d).swapaxes(1, 2) @ cotangent.conj().reshape(batch, -1, d)
        return products.real if split else products
    if split:
        state, cotangent, low = reals(state), reals(cotangent), 2 * low
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
