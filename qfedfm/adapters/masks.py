"""Random weights that stay as they are, under masks whose probabilities are trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch.nn.utils import parametrize

from qfedfm.adapters.dropout import current_seeds, mix, name_hash
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key

Evaluation = Literal["expected", "sampled"]
_LINEAR = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_DIGITS = 24
"""Binary digits of a draw: those that a float32 between 0 and 1 holds."""


class _StraightThrough(torch.autograd.Function):
    """The value in the forward pass; the gradient goes to θ as if the value were θ (Bengio et al., 2013)."""

    @staticmethod
    def forward(_ctx: Any, _theta: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(_ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None


def uniform(seed: torch.Tensor, name: int, shape: torch.Size) -> Float32[torch.Tensor, "*shape"]:
    """Numbers in [0, 1) by SplitMix64 from mix(seed + name), the same on every device."""
    counter = torch.arange(1, shape.numel() + 1, device=seed.device) * _GOLDEN
    bits: torch.Tensor = (mix(mix(seed + name) + counter) >> (64 - _DIGITS)) & (2**_DIGITS - 1)
    return bits.to(torch.float32).div(2**_DIGITS).view(shape)


class Mask(torch.nn.Module):
    """w ∘ m with a new m ~ Bernoulli(θ) in each training step; w ∘ θ, or one fixed draw of m, in evaluation.

    Training is where `row_seeds` are set: the mask is that of the step's first seed, one for all rows. θ counts as far
    as it is in [0, 1]; gradients pass as if it were not cut off, so that it can come back.

    Args:
        frozen: w.
        name: of the module, the same in all models that shall agree.
        evaluation: ``expected`` or ``sampled``.
    """

    def __init__(self, frozen: Float32[torch.Tensor, "*shape"], name: str, evaluation: Evaluation) -> None:
        super().__init__()
        self.register_buffer("frozen", frozen, persistent=False)
        self.hash, self.evaluation = name_hash(name), evaluation

    def forward(self, theta: Float[torch.Tensor, "*shape"]) -> Float[torch.Tensor, "*shape"]:
        """The weights of the network."""
        rows, value = current_seeds(), theta.detach().clamp(0, 1)
        if rows is not None or self.evaluation == "sampled":
            seed = torch.zeros((), dtype=torch.int64, device=theta.device) if rows is None else rows.seeds[0]
            value = (uniform(seed, self.hash, theta.shape) < value).to(theta.dtype)
        weights: torch.Tensor = self.frozen * _StraightThrough.apply(theta, value)  # type: ignore[no-untyped-call]
        return weights


def mask_weights(
    model: torch.nn.Module, first: Key, frozen: Key, *, gain: float, spread: float, evaluation: Evaluation
) -> None:
    """Makes probabilities of the trainable weights of linear and convolutional layers, in place.

    The random weights are ±g/√n for n inputs of a unit, a fair sign each: with g = √2 signed Kaiming constants
    (Ramanujan et al., CVPR 2020). Every other parameter stays as it is and is trained no more. At first θ is
    1/(1 + exp(−s)), with s of a normal distribution.

    Args:
        model: with nothing masked.
        first: draws s.
        frozen: draws the signs.
        gain: g.
        spread: standard deviation of s.
        evaluation: see `Mask`.

    Raises:
        ConfigError: there is no such weight, or one of them is used under two names.
    """
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, _LINEAR)]
    layers = [(name, layer) for name, layer in layers if layer.weight.requires_grad]
    names = [id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False)]
    if not layers or any(names.count(id(layer.weight)) > 1 for _, layer in layers):
        given = "a weight that two modules share" if layers else "a model without trainable linear layers"
        raise ConfigError(f"masks on {given}", "weights of linear or convolutional layers, each used once")
    model.requires_grad_(requires_grad=False)
    for name, layer in layers:
        shape = tuple(layer.weight.shape)
        signs = 2.0 * frozen.fold("signs", name).numpy().integers(0, 2, shape) - 1
        scores = spread * first.fold("scores", name).numpy().standard_normal(shape)
        size = gain / math.sqrt(math.prod(shape[1:]))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(1 / (1 + np.exp(-scores))))
        layer.weight.requires_grad_()
        mask = Mask(torch.from_numpy((size * signs).astype(np.float32)), name, evaluation)
        parametrize.register_parametrization(layer, "weight", mask)


def masked_weights(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights of the network under their names before `mask_weights`, with the masks of evaluation."""
    for name, layer in model.named_modules():
        if parametrize.is_parametrized(layer, "weight"):
            weight: Any = layer.weight
            yield f"{name}.weight" if name else "weight", weight.detach()
