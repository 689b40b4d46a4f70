"""Plain LoRA linears of peft with one pair (A, B) for each lane, in few passes over memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Float32
from torch.autograd.function import once_differentiable


class LowRank(torch.autograd.Function):
    """y[k] = base[k] + s · x[k] A[k]ᵀ B[k]ᵀ for each lane k, products in float32, y in the precision of ``base``.

    The equation of Hu et al. (2021), arXiv 2106.09685, section 4.1, with s = α / r.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[torch.Tensor, "lanes tokens in"],
        base: Float[torch.Tensor, "lanes tokens out"],
        a: Float32[torch.Tensor, "lanes r in"],
        b: Float32[torch.Tensor, "lanes out r"],
        scale: float,
    ) -> Float[torch.Tensor, "lanes tokens out"]:
        """The sum, in one batched product after the inner one."""
        inner = torch.bmm(x.float(), a.transpose(1, 2))
        # A wide matrix is the fast right-hand side of a small batched product, here and in the backward pass.
        wide = b.transpose(1, 2).contiguous()
        ctx.save_for_backward(x, inner, a, wide)
        ctx.scale = scale
        return torch.baddbmm(base.float(), inner, wide, alpha=scale).to(base.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of x, base, A and B."""
        x, inner, a, wide = ctx.saved_tensors
        g = gradient.float()
        through = torch.bmm(g, wide.transpose(1, 2)).mul_(ctx.scale)
        to_a = torch.bmm(through.transpose(1, 2), x.float())
        to_b = torch.bmm(inner.mul(ctx.scale).transpose(1, 2), g).transpose(1, 2)
        to_x = torch.bmm(through, a).to(x.dtype) if ctx.needs_input_grad[0] else None
        return to_x, gradient, to_a, to_b, None


def plain_pair(module: Any, names: Mapping[str, str]) -> tuple[str, str] | None:
    """The full names of A and B, if the module is a LoRA of peft and nothing but base + s B A drop(x); else None."""
    if "peft" not in sys.modules:
        return None
    from peft.tuners.lora.layer import Linear
    from transformers.pytorch_utils import Conv1D

    if type(module) is not Linear or len(module.active_adapters) != 1 or module.merged or module.disable_adapters:
        return None
    adapter = module.active_adapters[0]
    expected = {f"lora_A.{adapter}.weight", f"lora_B.{adapter}.weight"}
    if (
        set(names) != expected
        or adapter in module.lora_variant
        or type(module.base_layer) not in (torch.nn.Linear, Conv1D)
    ):
        return None
    return names[f"lora_A.{adapter}.weight"], names[f"lora_B.{adapter}.weight"]


def low_rank_forward(module: Any, a: str, b: str, current: Any) -> Callable[..., Any]:
    """The forward of a LoRA linear that takes its pair per lane from ``current`` where there is one."""
    adapter = module.active_adapters[0]
    plain, base, dropout = module.forward, module.base_layer, module.lora_dropout[adapter]
    scale = float(module.scaling[adapter])

    def forward(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        tensors = current.tensors
        if tensors is None:
            return plain(x, *args, **kwargs)
        lanes, y = len(tensors[a]), base(x)
        flat, under = dropout(x).reshape(lanes, -1, x.shape[-1]), y.reshape(lanes, -1, y.shape[-1])
        z = LowRank.apply(flat, under, tensors[a], tensors[b], scale)  # type: ignore[no-untyped-call]
        return z.view(y.shape)

    return forward
