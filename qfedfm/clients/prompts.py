"""Prompts of peft that belong to the model as a whole: those of a lane for the rows of that lane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from qfedfm.clients.mapped import mapped_forward


def stack_prompts(model: Any, encoder: Any, names: Mapping[str, str], current: Any) -> Callable[..., Any]:
    """The forward of a prompt encoder that takes its parameters per lane; also makes the model ask for it by row.

    Peft encodes the prompt once and repeats it for all rows. With lanes it is encoded once for each, and repeated for
    the rows of that lane.

    Args:
        model: the ``PeftModel`` that the encoder belongs to, altered in place.
        encoder: maps token numbers [1, n] to prompts [1, n, width].
        names: its parameters, local name → full name.
        current: the tensors [lanes, *shape] by full name, or None for the plain ones.
    """
    plain, asked = encoder.forward, model.get_prompt
    once = mapped_forward(encoder, names, current)

    def forward(tokens: torch.Tensor) -> Any:
        if current.tensors is None:
            return plain(tokens)
        lanes = len(current.tensors[next(iter(names.values()))])
        with current.use(current.tensors, lanes):
            prompts = once(tokens[:1].expand(lanes, -1))
        return prompts.repeat_interleave(len(tokens) // lanes, 0)

    def get_prompt(batch_size: int, *args: Any, **kwargs: Any) -> Any:
        if current.tensors is None or model.active_peft_config.peft_type.value == "PREFIX_TUNING":
            return asked(batch_size, *args, **kwargs)
        tokens = model.prompt_tokens[model.active_adapter].to(encoder.embedding.weight.device)
        return encoder(tokens.unsqueeze(0).expand(batch_size, -1))

    model.get_prompt = get_prompt
    return forward
