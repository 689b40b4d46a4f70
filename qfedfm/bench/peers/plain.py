"""Federated averaging with nothing but PyTorch, transformers and peft: the training code of both peers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from qfedfm.bench.workload import Federation

if TYPE_CHECKING:
    from peft import PeftModel

Values = list[torch.Tensor]


def prepared(federation: Federation, precision: str) -> PeftModel:
    """The model; in bfloat16 its frozen base is cast and attends eagerly, which is the faster choice on a CPU."""
    model = federation.model()
    if precision == "bfloat16":
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
        model.get_base_model().set_attn_implementation("eager")
        for module in model.modules():
            if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
                module.register_forward_pre_hook(lambda _, inputs: tuple(value.float() for value in inputs))
    return model


def trainable(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """What travels: the adapter and the head."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def values(model: torch.nn.Module) -> Values:
    """A copy of what travels."""
    return [parameter.detach().clone() for parameter in trainable(model)]


def load(model: torch.nn.Module, new: Values) -> None:
    """Writes what travels into the model."""
    with torch.no_grad():
        for parameter, value in zip(trainable(model), new, strict=True):
            parameter.copy_(value)


def train(model: torch.nn.Module, federation: Federation, rows: Sequence[np.ndarray]) -> float:
    """One client's local steps on batches that are padded to their own longest row; the mean of their losses."""
    optimizer = torch.optim.AdamW(trainable(model), lr=federation.rate, weight_decay=0.0, fused=True)
    losses = []
    for batch_rows in rows:
        batch = federation.task.collate(batch_rows)
        loss = torch.nn.functional.cross_entropy(model(**batch.inputs).logits.float(), batch.labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


def average(updates: Sequence[Values], weights: Sequence[int]) -> Values:
    """The weighted mean."""
    shares = torch.tensor(weights) / sum(weights)
    return [torch.tensordot(shares, torch.stack(tensors), 1) for tensors in zip(*updates, strict=True)]


@torch.inference_mode()
def evaluate(model: torch.nn.Module, federation: Federation, rows: np.ndarray, batch_size: int = 64) -> float:
    """Accuracy on rows, those of like length in one batch."""
    order = rows[np.argsort(federation.task.lengths()[rows], kind="stable")]
    right = 0
    for begin in range(0, len(order), batch_size):
        batch = federation.task.collate(order[begin : begin + batch_size])
        right += int((model(**batch.inputs).logits.argmax(1) == batch.labels).sum())
    return right / len(rows)
