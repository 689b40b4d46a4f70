"""Adapters of peft that build their change Δ of a weight in ways that ``vmap`` does not take, built in ways it does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float

Delta = Float[torch.Tensor, "out in"]


def _shira(layer: Any, adapter: str) -> Delta:
    """The trained entries in their places (Bhardwaj et al. 2024, arXiv 2406.13175)."""
    scale = float(layer.scaling[adapter])
    return _placed(layer, layer.shira_indices[adapter], layer.shira_weight[adapter]) * scale


def _fourier(layer: Any, adapter: str) -> Delta:
    """The real part of the inverse Fourier transform of the trained entries (Gao et al. 2024, arXiv 2405.03003)."""
    spectrum = _placed(layer, layer.indices[adapter], layer.fourierft_spectrum[adapter].float())
    delta: torch.Tensor = torch.fft.ifft2(spectrum).real * float(layer.fourierft_scaling[adapter])
    return delta


def _hadamard(layer: Any, adapter: str) -> Delta:
    """The entrywise product of two low-rank matrices (Hyeon-Woo et al. 2022, arXiv 2108.06098)."""
    first = layer.hada_w1_a[adapter] @ layer.hada_w1_b[adapter]
    delta: torch.Tensor = first * (layer.hada_w2_a[adapter] @ layer.hada_w2_b[adapter]) * float(layer.scaling[adapter])
    return delta


def _placed(layer: Any, indices: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """A matrix [out, in] of zeros but for the values at (row, column) ``indices`` [2, n], which are all different."""
    flat = (indices[0].long() * layer.in_features + indices[1].long()).to(values.device)
    return (
        values.new_zeros(layer.out_features * layer.in_features).scatter(0, flat, values).view(layer.out_features, -1)
    )


def _builders() -> Mapping[type, Callable[[Any, str], Delta]]:
    if "peft" not in sys.modules:
        return {}
    from peft.tuners.fourierft.layer import FourierFTLinear
    from peft.tuners.loha.layer import Linear as LoHaLinear
    from peft.tuners.shira.layer import Linear as ShiraLinear

    return {ShiraLinear: _shira, FourierFTLinear: _fourier, LoHaLinear: _hadamard}


def plain_delta(layer: Any) -> None:
    """Makes the layer compute y = W x + b + Δ x, in place, if it is one of those that build Δ in another way."""
    build = _builders().get(type(layer))
    if build is None or len(layer.active_adapters) != 1 or layer.merged or layer.disable_adapters:
        return
    adapter = layer.active_adapters[0]

    def forward(x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        delta = build(layer, adapter)
        y: torch.Tensor = layer.base_layer(x) + torch.nn.functional.linear(x.to(delta.dtype), delta)
        return y.to(x.dtype)

    layer.forward = forward
