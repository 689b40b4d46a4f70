"""Choosing and repeating a plan; the precision of the base."""

from __future__ import annotations

import time

import pytest
import torch

from qfedfm.clients import precision
from qfedfm.clients.plan import choose, repeat
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from tests.clients.tiny import bert_lora

CPU = torch.device("cpu")


@pytest.mark.parametrize(("half", "expected"), [(0.5, "bfloat16"), (0.9, "float32"), (2.0, "float32")])
def test_bfloat16_has_to_be_clearly_faster(half: float, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def seconds(tokens: int, wide: int, narrow: int, dtype: torch.dtype, device: torch.device) -> float:
        seen.append((tokens, wide, narrow))
        return half if dtype == torch.bfloat16 else 1.0

    monkeypatch.setattr(precision, "_seconds", seconds)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 16), torch.nn.Linear(16, 2))
    assert precision.probe(model, CPU, 64) == expected
    assert set(seen) == {(64, 16, 8)}


def test_the_probe_runs_and_a_model_without_products_stays_in_float32() -> None:
    assert precision.probe(torch.nn.Linear(4, 4), CPU, 8) in ("float32", "bfloat16")
    assert precision.probe(torch.nn.Embedding(4, 4), CPU, 8) == "float32"


@pytest.mark.parametrize(("slow", "expected"), [("fused", "eager"), ("neither", "default")])
def test_the_attention_kernel_is_measured(slow: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fused = torch.nn.functional.scaled_dot_product_attention

    def late(*args: torch.Tensor) -> torch.Tensor:
        if slow == "fused":
            time.sleep(0.02)
        return torch.ones_like(args[0], requires_grad=True) if slow == "neither" else fused(*args)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", late)
    model = bert_lora().model(Key.of(0))
    assert precision.probe_attention(model, CPU, torch.float32) == expected


def test_only_the_frozen_base_is_lowered() -> None:
    model = bert_lora().model(Key.of(0))
    buffers = {name: buffer.dtype for name, buffer in model.named_buffers()}
    precision.lower_base(model, "base_model.model.bert.encoder.layer")
    for parameter in model.parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else torch.bfloat16)
    assert {name: buffer.dtype for name, buffer in model.named_buffers()} == buffers


def test_a_plan_survives_being_written() -> None:
    plan = choose(torch.nn.Linear(4, 4), "cpu", "bfloat16", None)
    assert plan.attention == "default"
    assert repeat(plan.mapping()) == plan
    assert choose(torch.nn.Linear(4, 4), "cpu", "float32", 99).micro_batch_tokens == 99


def test_what_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = torch.nn.Linear(4, 4)
    with pytest.raises(ConfigError, match="precision"):
        choose(model, "cpu", "float64", None)
    with pytest.raises(ConfigError, match="encoder"):
        choose(model, "cpu", "float32", None, "lena")
    with pytest.raises(ConfigError, match="micro_batch_tokens"):
        choose(model, "cpu", "float32", 0)
    with pytest.raises(ConfigError, match="cuda"):
        choose(model, "cuda", "float32", None)
    plan = choose(model, "cpu", "float32", None).mapping()
    with pytest.raises(ConfigError, match="cuda"):
        repeat({**plan, "device": "cuda:0"})
    for wrong in ({}, {**plan, "micro_batch_tokens": "many"}, {**plan, "colour": "red"}):
        with pytest.raises(ConfigError, match="plan"):
            repeat(wrong)
