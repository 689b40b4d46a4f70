"""Virtual tokens in front of texts of different lengths, for models that read their answer off the last token."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int64, Shaped


def align_prompts(model: Any) -> None:
    """Makes a decoder with virtual tokens see each row at the right end of the batch, with positions of its own.

    Given embeddings instead of token numbers, transformers' decoders take the answer from the last place of the batch,
    which is padding for all but the longest row, and count positions from the first, padding included. A row on its own
    gives the same with and without this, so that the saved adapter means the same to peft.

    Args:
        model: a ``PeftModel``; altered in place if it puts virtual tokens in front and its head is called ``score``.
    """
    if model.active_peft_config.is_prompt_learning and hasattr(model.base_model, "score"):
        model.base_model.register_forward_pre_hook(_to_the_right, with_kwargs=True)


def _to_the_right(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    embeddings, mask = given.get("inputs_embeds"), given.get("attention_mask")
    if embeddings is None or mask is None:
        return args, given
    order = _padding_first(mask)
    moved = mask.gather(1, order)
    positions = (moved.to(torch.int64).cumsum(1) - 1).clamp(min=0)
    rows = embeddings.gather(1, order.unsqueeze(-1).expand_as(embeddings))
    return args, {**given, "inputs_embeds": rows, "attention_mask": moved, "position_ids": positions}


def _padding_first(mask: Shaped[torch.Tensor, "rows tokens"]) -> Int64[torch.Tensor, "rows tokens"]:
    """For each row its places in order, those of padding before the others."""
    return mask.bool().to(torch.int8).argsort(dim=1, stable=True)
