"""What a recorded pass says about models that are small enough to know the answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from qfedfm.clients.trace import Prefix, UnfusableError, trace
from qfedfm.core.key import Key
from tests.clients.test_families import adapter
from tests.clients.tiny import CLASSES, TinyTask, bert, lora


class Layer(torch.nn.Module):
    def __init__(self, wrapped: bool, extra: torch.Tensor | None) -> None:
        super().__init__()
        self.linear, self.wrapped, self.extra = torch.nn.Linear(8, 8), wrapped, extra

    def forward(self, hidden: torch.Tensor | tuple) -> object:
        states = self.linear(hidden[0] if isinstance(hidden, tuple) else hidden)
        return (states, self.extra) if self.wrapped else states


class Model(torch.nn.Module):
    def __init__(self, *, wrapped: bool = False, scaled: bool = False, extra: torch.Tensor | None = None) -> None:
        super().__init__()
        self.embed, self.scaled = torch.nn.Embedding(50, 8), scaled
        self.unused = torch.nn.ModuleList(Layer(wrapped, extra) for _ in range(9))
        self.layers = torch.nn.ModuleList(Layer(wrapped, extra) for _ in range(3))
        self.head = torch.nn.Linear(8, CLASSES)

    def forward(self, input_ids: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(input_ids)
        hidden = hidden * 2 if self.scaled else hidden
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head((hidden[0] if isinstance(hidden, tuple) else hidden).mean(1))


class Direct(TinyTask):
    def forward(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return model(**inputs)


TASK = Direct(Model, None)
INPUTS = {"input_ids": torch.ones(2, 4, dtype=torch.int64)}


def model(trained: str, **options: object) -> torch.nn.Module:
    made = Model(**options)
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(name.startswith(trained))
    return made


@pytest.mark.parametrize(
    ("trained", "layers"), [("head", 3), ("layers.2", 2), ("layers.1.linear.bias", 1), ("layers.0", 0), ("embed", 0)]
)
def test_prefix_ends_below_the_lowest_owner(trained: str, layers: int) -> None:
    found = trace(TASK, model(trained), INPUTS)
    assert found.body == "layers"
    names = tuple(f"layers.{i}" for i in range(layers))
    assert found.prefix == (Prefix(names, "embed", False, 8) if layers else None)


def test_embeddings_that_are_changed_on_their_way_are_computed() -> None:
    found = trace(TASK, model("head", scaled=True), INPUTS)
    assert found.prefix == Prefix(("layers.0", "layers.1", "layers.2"), "", False, 8)


def test_layers_that_hand_on_more_than_hidden_states_are_not_passed_over() -> None:
    assert trace(TASK, model("head", wrapped=True), INPUTS).prefix == Prefix(
        ("layers.0", "layers.1", "layers.2"), "embed", True, 8
    )
    assert trace(TASK, model("head", wrapped=True, extra=torch.ones(1)), INPUTS).prefix is None


def test_owners_are_the_called_modules() -> None:
    found = trace(TASK, model("layers.2"), INPUTS)
    assert found.owners == {"layers.2.linear": {"weight": "layers.2.linear.weight", "bias": "layers.2.linear.bias"}}


def test_an_adapter_layer_with_several_parts_is_one_owner() -> None:
    task = TinyTask(bert, lora("classifier", "query", layers=(1,)))
    found = trace(task, task.model(Key.of(0)), task.collate(np.arange(2)).inputs)
    query = "base_model.model.bert.encoder.layer.1.attention.self.query"
    assert set(found.owners) == {query, "base_model.model.classifier.modules_to_save.default"}
    assert set(found.owners[query]) == {"lora_A.default.weight", "lora_B.default.weight"}


def test_a_parameter_that_no_module_owns_is_named() -> None:
    made = model("head")
    made.loose = torch.nn.Parameter(torch.ones(1))
    with pytest.raises(UnfusableError, match="loose"):
        trace(TASK, made, INPUTS)


def test_a_shared_parameter_is_gathered_for_each_module_that_reads_it() -> None:
    made = model("layers.1")
    made.layers[2].linear.weight = made.layers[1].linear.weight
    owners = trace(TASK, made, INPUTS).owners
    assert owners["layers.1.linear"] == {"weight": "layers.1.linear.weight", "bias": "layers.1.linear.bias"}
    assert owners["layers.2.linear"] == {"weight": "layers.1.linear.weight"}


def test_a_parameter_that_a_container_shows_too_belongs_to_the_layers() -> None:
    task = TinyTask(bert, adapter("bert", "vblora"))
    found = trace(task, task.model(Key.of(0)), task.collate(np.arange(2)).inputs)
    banks = {owner for owner, names in found.owners.items() if any("vector_bank" in full for full in names.values())}
    assert len(banks) == 12
    assert all(".encoder.layer." in owner for owner in banks)
    assert len({full for names in found.owners.values() for full in names.values() if "vector_bank" in full}) == 1


def test_a_prompt_encoder_is_one_owner_and_names_its_model() -> None:
    task = TinyTask(bert, adapter("bert", "p_tuning"))
    found = trace(task, task.model(Key.of(0)), task.collate(np.arange(2)).inputs)
    assert found.prompts == {"prompt_encoder.default": ""}
    assert found.early == {"prompt_encoder.default"}
    assert found.prefix is None
    assert set(found.owners["prompt_encoder.default"]) >= {"embedding.weight", "mlp_head.0.weight", "mlp_head.4.bias"}
