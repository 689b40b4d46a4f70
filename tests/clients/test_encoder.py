"""Which models get the written-out encoder: those that it computes, and none that only looks like them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftConfig
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    RobertaPreLayerNormConfig,
    RobertaPreLayerNormForSequenceClassification,
)
from transformers.models.bert.modeling_bert import BertLayer

from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import Job, LocalOptimizer, Query
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core.key import Key
from tests.clients.tiny import TinyTask, bert, ia3, norms, roberta

KEY = Key.of(0)
SIZES = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 40, "num_labels": 3, "initializer_range": 0.2,
}  # fmt: skip


def lora(*targets: str, **options: object) -> PeftConfig:
    kept = {"modules_to_save": ["classifier"], "task_type": "SEQ_CLS", "r": 3} | options
    return LoraConfig(target_modules=list(targets), **kept)


QV = lora("query", "value")


def configured(**changes: object) -> torch.nn.Module:
    return BertForSequenceClassification(BertConfig(**SIZES, **changes))


def changed(change: Callable[[torch.nn.Module], None]) -> torch.nn.Module:
    model = bert(2)
    change(model.bert.encoder.layer[1])
    return model


class Doubling(torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class OtherLayer(BertLayer):
    pass


def other_class(layer: torch.nn.Module) -> None:
    layer.__class__ = OtherLayer


def tanh(layer: torch.nn.Module) -> None:
    layer.intermediate.intermediate_act_fn = torch.nn.GELU(approximate="tanh")


def doubling(name: str) -> Callable[[torch.nn.Module], None]:
    return lambda layer: setattr(layer.get_submodule(name), "__class__", Doubling)


def no_bias(layer: torch.nn.Module) -> None:
    layer.intermediate.dense.bias = None


def rms(layer: torch.nn.Module) -> None:
    layer.output.LayerNorm = torch.nn.RMSNorm(32)


def softer(layer: torch.nn.Module) -> None:
    layer.attention.self.scaling = 0.1


def hooked(layer: torch.nn.Module) -> None:
    layer.register_forward_hook(lambda module, args, output: 1.5 * output)


class AllLayers(TinyTask):
    """A head over the states of all layers, which the lean encoder does not give."""

    def forward(self, model: torch.nn.Module, inputs: object) -> torch.Tensor:
        output = model(**inputs, output_hidden_states=True)
        return output.logits + output.hidden_states[1][:, 0, :3]


class Frozen(TinyTask):
    """The adapters of the first layer are there, and are not trained."""

    def model(self, key: Key) -> torch.nn.Module:
        model = super().model(key)
        for name, parameter in model.named_parameters():
            if "layer.0." in name:
                parameter.requires_grad_(requires_grad=False)
        return model


LEAN = {
    "bert": TinyTask(partial(bert, 2), QV),
    "roberta": TinyTask(partial(roberta, 2), QV),
    "gelu of python": TinyTask(partial(configured, hidden_act="gelu"), QV),
    "head only": TinyTask(partial(bert, 2), None, "classifier"),
    "pooler as well": TinyTask(partial(bert, 2), lora("query", "pooler.dense")),
}
OTHERS = {
    "decoder": TinyTask(partial(configured, is_decoder=True), QV),
    "gelu_new": TinyTask(partial(configured, hidden_act="gelu_new"), QV),
    "relu": TinyTask(partial(configured, hidden_act="relu"), QV),
    "gelu by tanh in one layer": TinyTask(partial(changed, tanh), QV),
    "a subclass of the layer": TinyTask(partial(changed, other_class), QV),
    "a subclass of a linear": TinyTask(partial(changed, doubling("output.dense")), QV),
    "a subclass of the key's linear": TinyTask(partial(changed, doubling("attention.self.key")), QV),
    "a linear without bias": TinyTask(partial(changed, no_bias), QV),
    "another norm": TinyTask(partial(changed, rms), QV),
    "another scale of the scores": TinyTask(partial(changed, softer), QV),
    "a hook on a layer": TinyTask(partial(changed, hooked), QV),
    "states of all layers": AllLayers(partial(bert, 2), QV),
    "IA3": TinyTask(partial(bert, 2), ia3("classifier", "value", "output.dense")),
    "norms": TinyTask(partial(bert, 2), norms("classifier", "output.LayerNorm")),
    "DoRA": TinyTask(partial(bert, 2), lora("query", use_dora=True)),
    "biases": TinyTask(partial(bert, 2), lora("query", bias="lora_only")),
    "LoRA's own bias": TinyTask(partial(bert, 2), lora("query", lora_bias=True)),
    "embeddings": TinyTask(partial(bert, 2), lora("query", "word_embeddings")),
    "full layer": TinyTask(partial(bert, 2), None, "bert.encoder.layer.1"),
    "a frozen adapter": Frozen(partial(bert, 2), QV),
    "norms first": TinyTask(
        lambda: RobertaPreLayerNormForSequenceClassification(RobertaPreLayerNormConfig(**SIZES, pad_token_id=0)), QV
    ),
    "ELECTRA": TinyTask(lambda: ElectraForSequenceClassification(ElectraConfig(**SIZES, embedding_size=16)), QV),
}


def assert_as_sequential(task: TinyTask, engine: FusedEngine) -> None:
    reference, rng = SequentialEngine(task, KEY), np.random.default_rng(0)
    noise = rng.normal(size=(2, engine.layout.size)).astype(np.float32)
    jobs = [
        Job(k, engine.first + 0.05 * noise[k], (np.arange(5), np.arange(3) + k), np.full(2, 0.1), LocalOptimizer("sgd"))
        for k in range(2)
    ]
    for mine, other in zip(engine.train(jobs), reference.train(jobs), strict=True):
        assert np.linalg.norm(mine.delta - other.delta) <= 2e-4 * np.linalg.norm(other.delta)
    query = Query(jobs[0].start, np.arange(20))
    np.testing.assert_allclose(engine.outputs([query])[0], reference.outputs([query])[0], atol=2e-4)


@pytest.mark.parametrize("name", LEAN)
def test_bert_and_roberta_are_written_out(name: str) -> None:
    engine = FusedEngine(LEAN[name], KEY, device="cpu", precision="float32")
    assert (engine.plan()["engine"], engine.plan()["encoder"]) == ("fused", "lean")
    assert_as_sequential(LEAN[name], engine)


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_looks_like_them_keeps_its_modules(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """And is fused all the same."""
    with caplog.at_level(logging.WARNING, "qfedfm"):
        engine = FusedEngine(OTHERS[name], KEY, device="cpu", precision="float32")
    assert engine.plan()["encoder"] == "modules", caplog.text
    assert engine.plan()["engine"] == "fused", caplog.text
    assert_as_sequential(OTHERS[name], engine)


def test_who_asks_for_the_modules_gets_them() -> None:
    engine = FusedEngine(LEAN["bert"], KEY, device="cpu", precision="float32", encoder="modules")
    assert (engine.plan()["engine"], engine.plan()["encoder"]) == ("fused", "modules")
    assert_as_sequential(LEAN["bert"], engine)


def test_an_encoder_over_padding_on_the_left_is_not_written_out() -> None:
    """The head of a BERT reads place 0, which is padding there: what a row gives depends on the others in its batch."""
    engine = FusedEngine(TinyTask(bert, QV, left=True), KEY, device="cpu", precision="float32")
    assert engine.plan()["encoder"] == "modules"
    assert engine.plan()["engine"] == "sequential"
