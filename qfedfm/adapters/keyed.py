"""Replaces the dropout modules of peft's layers by ones whose masks come from keys."""

from __future__ import annotations

from typing import Any

import torch

from qfedfm.adapters.dropout import KeyedDropout


def key_dropout(model: torch.nn.Module) -> None:
    """Puts a `KeyedDropout` of the same probability in place of every ``torch.nn.Dropout`` of an adapter layer.

    The dropout of the frozen model itself is left alone: models stay in evaluation mode, in which it is off.

    Args:
        model: with adapter layers of peft, altered in place.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(model.named_modules()):
        if not isinstance(layer, BaseTunerLayer):
            continue
        own = [path for path, module in layer.named_modules() if type(module) is torch.nn.Dropout]
        for path in own:
            if path.split(".")[0] != "base_layer":
                probability = float(layer.get_submodule(path).p)
                layer.set_submodule(path, KeyedDropout(probability, f"{name}.{path}"))
        _key_dora(layer)


def _key_dora(layer: Any) -> None:
    """Makes DoRA's linear ask the dropout module, and not the training flag, whether it drops."""
    from peft.tuners.lora.variants import DoraLinearVariant

    class KeyedDora(DoraLinearVariant):  # type: ignore[misc]
        """The layer over the dropped input, the frozen product included, as peft computes it in training."""

        @staticmethod
        def forward(module: Any, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **_: Any) -> torch.Tensor:
            dropped = module.lora_dropout[active_adapter](x)
            more: torch.Tensor = module.lora_magnitude_vector[active_adapter](
                dropped,
                lora_A=module.lora_A[active_adapter],
                lora_B=module.lora_B[active_adapter],
                scaling=module.scaling[active_adapter],
                base_layer=module.get_base_layer(),
                base_result=result if dropped is x else None,
                adapter_name=active_adapter,
            )
            return result + more

    for adapter, variant in getattr(layer, "lora_variant", {}).items():
        if type(variant) is DoraLinearVariant and isinstance(layer.lora_dropout[adapter], KeyedDropout):
            layer.lora_variant[adapter] = KeyedDora()
