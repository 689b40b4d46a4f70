"""Adapters: what is trained, what the key decides, what is refused, and folders that peft itself loads."""

import json

import numpy as np
import peft
import pydantic
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from qfedfm.adapters.models import quiet, resolve_model
from qfedfm.adapters.peft import Adapter, attach, build_classifier, save
from qfedfm.adapters.tensors import layout_of, load_vector, vector_of
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key

HEAD = frozenset({"classifier.weight", "classifier.bias"})
LLAMA_HEAD = frozenset({"score.weight"})
IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


def bert():
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=24,
            num_labels=3,
        )
        return BertForSequenceClassification(config).eval()


def llama():
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24,
            num_labels=3, pad_token_id=0,
        )  # fmt: skip
        return LlamaForSequenceClassification(config).eval()


def outputs(model):
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=MASK).logits.numpy()


def frozen(model):
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters() if not p.requires_grad}


def test_lora_on_the_last_layers_has_the_size_of_its_formula():
    model = attach(bert(), Adapter(options={"r": 4}, layers=2), Key.of(1), HEAD)
    # query and value of two layers, A and B of r × 16 each; the head 3 × 16 + 3
    assert layout_of(model).size == 2 * 2 * 2 * 4 * 16 + 3 * 16 + 3
    names = [entry.name for entry in layout_of(model)]
    assert not any(".layer.0." in name for name in names)
    assert any(".layer.2." in name for name in names)
    assert not any(module.training for module in model.modules())


def test_the_key_draws_what_is_trained_and_nothing_else():
    first, again, other = (attach(bert(), Adapter(), Key.of(seed), HEAD) for seed in (1, 1, 2))
    assert np.array_equal(vector_of(first), vector_of(again))
    for name, tensor in layout_of(first).unpack(vector_of(first)).items():
        differs = not np.array_equal(tensor, layout_of(other).unpack(vector_of(other))[name])
        assert differs == (("lora_A" in name) or (name.endswith("default.weight") and "modules_to_save" in name))
    one, two = frozen(first), frozen(other)
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_attaching_leaves_the_global_generator_alone():
    base, before = bert(), torch.get_rng_state()
    attach(base, Adapter(), Key.of(1), HEAD)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_new_head_has_the_models_initial_spread():
    wide = bert()
    wide.classifier = torch.nn.Linear(16, 4000)
    model = attach(wide, Adapter(), Key.of(1), HEAD)
    head = model.base_model.model.classifier.modules_to_save["default"].weight.detach().numpy()
    assert head.std() == pytest.approx(0.02, rel=0.02)
    assert abs(head.mean()) < 5 * 0.02 / np.sqrt(head.size)


def test_a_trained_head_keeps_its_values():
    base = bert()
    weight = base.classifier.weight.detach().numpy().copy()
    model = attach(base, Adapter(), Key.of(5))
    head = model.base_model.model.classifier.modules_to_save["default"]
    assert np.array_equal(head.weight.detach().numpy(), weight)
    assert head.weight.requires_grad


def test_other_modules_that_the_checkpoint_lacks_are_trained_too():
    model = attach(bert(), Adapter(), Key.of(1), HEAD | {"bert.pooler.dense.weight", "bert.pooler.dense.bias"})
    assert any("pooler.dense.modules_to_save" in entry.name for entry in layout_of(model))


KINDS = [
    Adapter(options={"r": 2}),
    Adapter(options={"r": 2, "use_dora": True}),
    Adapter(options={"r": 2, "bias": "all"}),
    Adapter(kind="ia3"),
    Adapter(kind="ln_tuning", options={"target_modules": ["LayerNorm"]}),
    Adapter(kind="loha", options={"r": 2, "target_modules": ["query"]}, layers=1),
    Adapter(kind="oft", options={"r": 2, "oft_block_size": 0, "target_modules": ["query"]}),
]


@pytest.mark.parametrize("adapter", KINDS, ids=lambda adapter: f"{adapter.kind}-{'-'.join(adapter.options)}")
def test_peft_loads_what_is_saved(tmp_path, adapter):
    model = attach(bert(), adapter, Key.of(1), HEAD)
    vector = vector_of(model) + Key.of(2).numpy().normal(0, 0.3, layout_of(model).size).astype(np.float32)
    save(model, vector, tmp_path / "adapter", "someone/base")
    load_vector(model, vector)
    expected = outputs(model)
    with quiet():
        loaded = peft.PeftModel.from_pretrained(bert(), str(tmp_path / "adapter")).eval()
    assert outputs(loaded) == pytest.approx(expected, abs=1e-6)
    assert np.abs(expected - outputs(bert())).max() > 1e-3


def test_llama_is_saved_and_loaded(tmp_path):
    model = attach(llama(), Adapter(options={"r": 2}, layers=1), Key.of(1), LLAMA_HEAD)
    vector = vector_of(model) + np.float32(0.1)
    save(model, vector, tmp_path, "someone/base")
    expected = outputs(model)
    with quiet():
        loaded = peft.PeftModel.from_pretrained(llama(), str(tmp_path)).eval()
    assert outputs(loaded) == pytest.approx(expected, abs=1e-6)


def test_minilm_is_saved_and_loaded_and_names_its_base_by_the_hub(tmp_path):
    model = build_classifier("minilm", 3, Adapter(layers=1), Key.of(1), {0: "bad", 1: "so so", 2: "good"})
    vector = vector_of(model) + Key.of(3).numpy().normal(0, 0.1, layout_of(model).size).astype(np.float32)
    save(model, vector, tmp_path, "minilm")
    expected = outputs(model)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"
    path = resolve_model("minilm")
    assert not any(path.encode() in file.read_bytes() for file in tmp_path.iterdir())
    with quiet():
        base = AutoModelForSequenceClassification.from_pretrained(path, num_labels=3, dtype=torch.float32)
        loaded = peft.PeftModel.from_pretrained(base, str(tmp_path)).eval()
    assert outputs(loaded) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (Adapter(options={"lora_alfa": 8}), r"unknown option 'lora_alfa'.*did you mean 'lora_alpha'\?"),
        (Adapter(options={"task_type": "CAUSAL_LM"}), "unknown option 'task_type'"),
        (Adapter(options={"r": 0}), "'lora' does not fit the model: .*`r`.*0"),
        (
            Adapter(options={"target_modules": ["nothing"]}),
            "does not fit the model: No modules were targeted.*target_modules",
        ),
        (
            Adapter(kind="c3a", options={"block_size": 5}),
            "'c3a' does not fit the model: The block size should be a factor",
        ),
        (Adapter(layers=4), "layers = 4; expected at most 3"),
        (Adapter(kind="ia3", layers=1), "layers = 1 for adapter 'ia3', which peft cannot restrict"),
        (Adapter(options={"init_lora_weights": "pissa"}), "changes the frozen weights"),
        (Adapter(options={"init_lora_weights": "olora"}), "changes the frozen weights"),
    ],
)
def test_what_is_wrong_is_said(adapter, message):
    with pytest.raises(ConfigError, match=message):
        attach(bert(), adapter, Key.of(1), HEAD)


@pytest.mark.parametrize("wrong", [{"layers": 0}, {"layers": "some"}, {"rank": 3}, {"options": 3}])
def test_a_wrong_configuration_is_refused(wrong):
    with pytest.raises(pydantic.ValidationError):
        Adapter(**wrong)
