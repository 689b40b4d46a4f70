"""The model as the fused engine uses it: which tokens its head reads, what it needs, what is left after a failure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pytest
import torch
from peft import LoraConfig

from qfedfm.adapters.tensors import gradient_of, load_vector
from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import Job, LocalOptimizer, Query
from qfedfm.clients.network import Network
from qfedfm.clients.plan import Plan
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core.key import Key
from tests.clients.tiny import CLASSES, HIDDEN, TinyTask, bert, bert_lora, llama_lora, roberta

KEY = Key.of(0)
PLAN = Plan("fused", "cpu", "float32", "default", "lean", 1024, 4, 0)
Head = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Headed(torch.nn.Module):
    """A BERT or RoBERTa under a head that reads what it likes of the last hidden states."""

    def __init__(self, body: torch.nn.Module, read: Head) -> None:
        super().__init__()
        self.body, self.read, self.classifier = body, read, torch.nn.Linear(HIDDEN, CLASSES)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.classifier(self.read(states, attention_mask))


class HeadedTask(TinyTask):
    def forward(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return model(**inputs)


def first(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return states[:, 0]


def mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (states * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)


def highest(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return states.masked_fill(mask.unsqueeze(2) == 0, -torch.inf).amax(1)


def last(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return states[torch.arange(len(states)), mask.sum(1) - 1]


def first_and_last(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return states[:, 0] + 1e-3 * last(states, mask)


def second(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return states[:, 1]


def headed(family: Callable[[int], torch.nn.Module], read: Head) -> HeadedTask:
    adapter = LoraConfig(target_modules=["query", "output.dense"], modules_to_save=["classifier"], r=3)
    return HeadedTask(lambda: Headed(family(2).base_model, read), adapter)


def jobs(engine: FusedEngine | SequentialEngine) -> list[Job]:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, engine.layout.size)).astype(np.float32)
    rows = [(rng.integers(0, 60, 5), rng.integers(0, 60, 2)) for _ in range(2)]
    return [Job(k, engine.first + 0.05 * noise[k], rows[k], np.full(2, 0.1), LocalOptimizer("sgd")) for k in range(2)]


def assert_as_sequential(engine: FusedEngine, task: TinyTask) -> None:
    reference = SequentialEngine(task, KEY)
    for mine, other in zip(engine.train(jobs(reference)), reference.train(jobs(reference)), strict=True):
        assert np.linalg.norm(mine.delta - other.delta) <= 2e-4 * np.linalg.norm(other.delta)
    query = Query(reference.first, np.arange(60))
    np.testing.assert_allclose(engine.outputs([query])[0], reference.outputs([query])[0], atol=2e-4)


@pytest.mark.parametrize("family", [bert, roberta], ids=["bert", "roberta"])
@pytest.mark.parametrize(
    ("read", "alone"),
    [(first, True), (mean, False), (highest, False), (last, False), (first_and_last, False), (second, False)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_last_layer_is_computed_for_the_tokens_that_the_head_reads(
    family: Callable[[int], torch.nn.Module], read: Head, alone: bool
) -> None:
    task = headed(family, read)
    network = Network(task, task.model(KEY), PLAN, np.arange(3))
    assert network.lean
    assert network._encoder.first_only is alone
    engine = FusedEngine(task, KEY, device="cpu", precision="float32", micro_batch_tokens=70)
    assert (engine.plan()["engine"], engine.plan()["encoder"]) == ("fused", "lean")
    assert_as_sequential(engine, task)


@pytest.mark.parametrize("make", [bert_lora, llama_lora])
def test_the_plain_gradient_is_that_of_a_model_of_its_own(make: Callable[[], TinyTask]) -> None:
    task = make()
    model, rows = task.model(KEY), np.array([3, 3, 17])
    network = Network(task, task.model(KEY), PLAN, np.arange(3))
    vector = np.random.default_rng(0).normal(scale=0.1, size=network_size(model)).astype(np.float32)
    load_vector(model, vector)
    batch = task.collate(rows)
    task.losses(task.forward(model, batch.inputs), batch.labels).mean().backward()
    expected = gradient_of(model)
    found = network.plain_gradient(vector, rows)
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


def network_size(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("make", [bert_lora, llama_lora])
def test_what_fills_a_pass_changes_nothing(make: Callable[[], TinyTask]) -> None:
    """Any row may stand where none is wanted: the outputs and gradients of the others stay."""
    task = make()
    network = Network(task, task.model(KEY), PLAN, np.arange(3))
    model = task.model(KEY)
    named = [(name, p.detach()) for name, p in model.named_parameters() if p.requires_grad]
    valid = np.array([[True, True], [True, False]])
    found = []
    for filling in (5, 40):
        leaves = {name: torch.stack([p, 1.1 * p]).requires_grad_() for name, p in named}
        outputs, labels = network.outputs(np.array([[8, 9], [10, filling]]), valid, leaves)
        losses = task.losses(outputs, labels)[torch.from_numpy(valid.reshape(-1))]
        gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
        found.append((losses.detach(), torch.cat([part.reshape(-1) for part in gradients])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("error", [IndexError, KeyError, AttributeError, TypeError, ValueError, NotImplementedError])
def test_a_model_that_fails_in_lanes_is_trained_one_client_after_the_other(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise error("no lanes here")

    monkeypatch.setattr(Network, "outputs", fails)
    task = TinyTask(partial(bert, 2), LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    with caplog.at_level(logging.WARNING, "qfedfm"):
        engine = FusedEngine(task, KEY, device="cpu", precision="float32")
    assert engine.plan()["engine"] == "sequential"
    assert "no lanes here" in caplog.text
    assert len(caplog.records) == 1
    assert_as_sequential(engine, task)
