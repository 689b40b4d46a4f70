"""The precision of the frozen base: decided by a measurement on this machine, or as told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

_GAIN = 1.3
"""bfloat16 rounds to three digits, so it has to be this much faster to be worth it."""


def probe(model: torch.nn.Module, device: torch.device, tokens: int) -> str:
    """``bfloat16`` if the model's largest kind of frozen product is at least 1.3 times as fast in it, else ``float32``.

    Args:
        model: whose linear layers give the shape.
        device: where it runs.
        tokens: rows of the product.
    """
    shapes = [module.weight.shape for module in model.modules() if isinstance(module, torch.nn.Linear)]
    if not shapes:
        return "float32"
    wide, narrow = max(shapes, key=lambda shape: shape[0] * shape[1])
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    # in turn, and the best of many: what other programs disturb the least
    for _ in range(40):
        for dtype, fastest in best.items():
            best[dtype] = min(fastest, _seconds(tokens, int(wide), int(narrow), dtype, device))
    return "bfloat16" if best[torch.float32] > _GAIN * best[torch.bfloat16] else "float32"


def _seconds(tokens: int, wide: int, narrow: int, dtype: torch.dtype, device: torch.device) -> float:
    x = torch.ones(tokens, narrow, dtype=dtype, device=device)
    w = torch.ones(wide, narrow, dtype=dtype, device=device)
    torch.nn.functional.linear(x, w)
    return _elapsed(lambda: torch.nn.functional.linear(x, w), device)


def _elapsed(call: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def probe_attention(model: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> str:
    """``eager`` if written-out attention is clearly faster, there and back, than the fused kernel; else ``default``.

    The fused kernel's way back can be many times slower in bfloat16 on a CPU, and is usually the faster one elsewhere.

    Args:
        model: whose configuration gives the heads and their width.
        device: where it runs.
        dtype: of the frozen base.
    """
    config: Any = getattr(model, "config", None)
    heads, hidden = (getattr(config, name, None) for name in ("num_attention_heads", "hidden_size"))
    if not heads or not hidden:
        return "default"
    q, k, v = (torch.ones(8, heads, 64, hidden // heads, dtype=dtype, device=device).requires_grad_() for _ in range(3))

    def fused() -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    def eager() -> torch.Tensor:
        return torch.softmax(q @ k.transpose(2, 3) * (hidden // heads) ** -0.5, dim=-1) @ v

    best = {fused: float("inf"), eager: float("inf")}
    for _ in range(10):
        for kernel, fastest in best.items():
            best[kernel] = min(fastest, _elapsed(lambda kernel=kernel: kernel().sum().backward(), device))  # type: ignore[misc]
    return "eager" if best[fused] > _GAIN * best[eager] else "default"


def lower_base(model: torch.nn.Module, body: str) -> None:
    """Puts the frozen parameters into bfloat16, in place; buffers stay, and so do modules with a trainable parameter.

    Frozen modules outside the transformer layers may get float32 from a trained module, so that they cast their input.
    """
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if any(parameter.requires_grad for parameter in own):
            continue
        for parameter in own:
            if parameter.dtype == torch.float32:
                parameter.data = parameter.data.to(torch.bfloat16)
        outside = not (body and name.startswith(body + "."))
        if outside and own and all(parameter.dtype == torch.bfloat16 for parameter in own):
            module.register_forward_pre_hook(_cast_inputs)


def _cast_inputs(_module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.to(torch.bfloat16) if isinstance(x, torch.Tensor) and x.dtype == torch.float32 else x for x in args)


def set_attention(model: torch.nn.Module, implementation: str) -> None:
    """Chooses how transformers models compute attention, and that none keeps keys and values for generation."""
    configs: dict[int, Any] = {
        id(module.config): module.config for module in model.modules() if hasattr(module, "config")
    }
    for config in configs.values():
        if getattr(config, "_attn_implementation", None) is not None and implementation != "default":
            config._attn_implementation = implementation
        if hasattr(config, "use_cache"):
            config.use_cache = False
