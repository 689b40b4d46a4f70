"""The trainable tensors of a model as one flat vector, in the order of ``named_parameters``."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32

from qfedfm.core.errors import DataError
from qfedfm.core.layout import Layout


def trainable(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters with ``requires_grad`` by name; a tied parameter appears once, under its first name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def layout_of(model: torch.nn.Module) -> Layout:
    """Names, shapes and offsets of the trainable parameters.

    Raises:
        DataError: the model has no trainable parameter.

    Example:
        >>> layout_of(torch.nn.Linear(3, 2)).size
        8
    """
    return Layout.of({name: tuple(parameter.shape) for name, parameter in trainable(model).items()})


def vector_of(model: torch.nn.Module) -> Float32[np.ndarray, " d"]:
    """The trainable parameters as one new float32 vector."""
    parts = [parameter.detach().reshape(-1).to("cpu", torch.float32) for parameter in trainable(model).values()]
    return np.asarray(torch.cat(parts).numpy())


def gradient_of(model: torch.nn.Module) -> Float32[np.ndarray, " d"]:
    """The gradients of the trainable parameters as one new float32 vector; zero where there is none."""
    parts = [
        (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).reshape(-1).to("cpu", torch.float32)
        for parameter in trainable(model).values()
    ]
    return np.asarray(torch.cat(parts).numpy())


def load_vector(model: torch.nn.Module, vector: Float32[np.ndarray, " d"]) -> None:
    """Writes a vector into the trainable parameters, in place and in their own precision.

    Raises:
        DataError: the vector's length is not the number of trainable parameters.

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> load_vector(layer, np.float32([1, 2, 3]))
        >>> layer.bias.item()
        3.0
    """
    parameters = trainable(model)
    size = sum(parameter.numel() for parameter in parameters.values())
    if vector.shape != (size,):
        raise DataError(f"a vector of shape {vector.shape}", f"({size},), the model's trainable parameters")
    # A copy: the caller's vector may be read-only, which torch cannot express.
    source = torch.from_numpy(np.array(vector, np.float32))
    with torch.no_grad():
        parts = source.split([parameter.numel() for parameter in parameters.values()])  # type: ignore[no-untyped-call]
        for parameter, part in zip(parameters.values(), parts, strict=True):
            parameter.copy_(part.view(parameter.shape))
