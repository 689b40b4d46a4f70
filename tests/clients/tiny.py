"""Tasks small enough for the default tests: random tokens, randomly initialised transformers models, peft adapters."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from peft import IA3Config, LNTuningConfig, LoraConfig, PeftConfig, get_peft_model
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

from qfedfm.adapters.peft import Adapter, attach
from qfedfm.core.key import Key
from qfedfm.tasks.protocol import Batch, Split

CLASSES, VOCABULARY, PAD, HIDDEN = 3, 50, 0, 32


def bert(layers: int = 3) -> torch.nn.Module:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY, hidden_size=HIDDEN, num_hidden_layers=layers, num_attention_heads=4,
            intermediate_size=48, max_position_embeddings=32, num_labels=CLASSES, initializer_range=0.2,
        )
    )  # fmt: skip


def llama(layers: int = 3) -> torch.nn.Module:
    return LlamaForSequenceClassification(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=HIDDEN, num_hidden_layers=layers, num_attention_heads=4,
            num_key_value_heads=2, intermediate_size=48, max_position_embeddings=32, num_labels=CLASSES,
            pad_token_id=PAD, initializer_range=0.2,
        )
    )  # fmt: skip


def roberta(layers: int = 3) -> torch.nn.Module:
    return RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=VOCABULARY, hidden_size=HIDDEN, num_hidden_layers=layers, num_attention_heads=4,
            intermediate_size=48, max_position_embeddings=40, num_labels=CLASSES, pad_token_id=PAD, bos_token_id=1,
            eos_token_id=2, initializer_range=0.2,
        )
    )  # fmt: skip


def gpt2(layers: int = 3) -> torch.nn.Module:
    return GPT2ForSequenceClassification(
        GPT2Config(
            vocab_size=VOCABULARY, n_embd=HIDDEN, n_layer=layers, n_head=4, n_inner=48, n_positions=40,
            num_labels=CLASSES, pad_token_id=PAD, bos_token_id=1, eos_token_id=2, initializer_range=0.2,
        )
    )  # fmt: skip


def vit(layers: int = 3) -> torch.nn.Module:
    return ViTForImageClassification(
        ViTConfig(
            hidden_size=HIDDEN, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=48, image_size=8,
            patch_size=4, num_labels=CLASSES, initializer_range=0.2,
        )
    )  # fmt: skip


def lora(head: str, *targets: str, layers: tuple[int, ...] = (1, 2), **options: object) -> PeftConfig:
    return LoraConfig(
        task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=list(targets), layers_to_transform=list(layers),
        modules_to_save=[head], lora_dropout=0.1, **options,
    )  # fmt: skip


def ia3(head: str, value: str, feedforward: str) -> PeftConfig:
    return IA3Config(
        task_type="SEQ_CLS", target_modules=[value, feedforward], feedforward_modules=[feedforward],
        modules_to_save=[head],
    )  # fmt: skip


def norms(head: str, *targets: str) -> PeftConfig:
    return LNTuningConfig(task_type="SEQ_CLS", target_modules=list(targets), modules_to_save=[head])


@dataclass(frozen=True)
class TinyTask:
    """Random token rows of different lengths."""

    base: Callable[[], torch.nn.Module]
    adapter: PeftConfig | Adapter | None
    trained: str = ""
    rows: int = 60
    left: bool = False
    name: str = "tiny"
    classes: int = CLASSES
    data: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def model(self, key: Key) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = self.base()
            if isinstance(self.adapter, Adapter):
                model = attach(model, self.adapter, key)
            elif self.adapter is None:
                for name, parameter in model.named_parameters():
                    parameter.requires_grad_(name.startswith(self.trained))
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # peft on transformers' deprecations and on layer norms
                    model = get_peft_model(model, copy.deepcopy(self.adapter))
            torch.manual_seed(key.integer())
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.requires_grad:
                        parameter.add_(0.1 * torch.randn_like(parameter))
        return model.eval()

    def _tokens(self) -> list[np.ndarray]:
        if "tokens" not in self.data:
            rng = np.random.default_rng(0)
            self.data["tokens"] = [rng.integers(1, VOCABULARY, rng.integers(3, 17)) for _ in range(self.rows)]
        return self.data["tokens"]

    def split(self, key: Key) -> Split:
        raise NotImplementedError

    def lengths(self) -> np.ndarray:
        return np.asarray([len(row) for row in self._tokens()], np.int64)

    def labels(self) -> np.ndarray:
        return np.asarray([int(row.sum()) % CLASSES for row in self._tokens()], np.int64)

    def collate(self, rows: np.ndarray) -> Batch:
        found = [self._tokens()[int(row)] for row in rows]
        width = max(len(row) for row in found)
        ids, mask = np.full((len(rows), width), PAD, np.int64), np.zeros((len(rows), width), np.int64)
        for i, row in enumerate(found):
            where = slice(width - len(row), None) if self.left else slice(len(row))
            ids[i, where], mask[i, where] = row, 1
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        return Batch(inputs, torch.from_numpy(self.labels()[rows]))

    def forward(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return model(**inputs).logits

    def losses(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs, labels, reduction="none")

    def metrics(self, outputs: np.ndarray, rows: np.ndarray) -> Mapping[str, float]:
        return {"accuracy": float((outputs.argmax(1) == self.labels()[rows]).mean())}


class TinyImages(TinyTask):
    """Random images of four patches: rows of one length, and no mask."""

    def lengths(self) -> np.ndarray:
        return np.full(self.rows, 5, np.int64)

    def collate(self, rows: np.ndarray) -> Batch:
        if "images" not in self.data:
            self.data["images"] = list(np.random.default_rng(1).normal(size=(self.rows, 3, 8, 8)).astype(np.float32))
        images = np.stack([self.data["images"][int(row)] for row in rows])
        return Batch({"pixel_values": torch.from_numpy(images)}, torch.from_numpy(self.labels()[rows]))


def bert_lora(**options: object) -> TinyTask:
    return TinyTask(bert, lora("classifier", "query", "value"), **options)


def llama_lora(**options: object) -> TinyTask:
    return TinyTask(llama, lora("score", "q_proj", "v_proj", "up_proj"), **options)


ADAPTERS = {
    "bert, LoRA": bert_lora,
    "llama, LoRA": llama_lora,
    "llama, LoRA, padded on the left": lambda: llama_lora(left=True),
    "bert, LoRA on square and rectangular modules of every layer": lambda: TinyTask(
        bert, lora("classifier", "query", "intermediate.dense", "output.dense", layers=(0, 1, 2))
    ),
    "bert, IA3": lambda: TinyTask(bert, ia3("classifier", "value", "output.dense")),
    "llama, IA3": lambda: TinyTask(llama, ia3("score", "v_proj", "down_proj")),
    "bert, layer norms": lambda: TinyTask(bert, norms("classifier", "output.LayerNorm")),
    "llama, layer norms": lambda: TinyTask(llama, norms("score", "input_layernorm", "norm")),
    "bert, DoRA": lambda: TinyTask(bert, lora("classifier", "query", use_dora=True)),
    "bert, LoRA beside all biases": lambda: TinyTask(bert, lora("classifier", "value", bias="all")),
    "bert, LoRA on embeddings": lambda: TinyTask(
        bert, LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["word_embeddings"], modules_to_save=["classifier"])
    ),
    "bert, head only": lambda: TinyTask(bert, None, "classifier"),
    "bert, last layer in full": lambda: TinyTask(bert, None, "bert.encoder.layer.2"),
}
KEEPS_PREFIX = {
    "bert, LoRA",
    "llama, LoRA",
    "llama, LoRA, padded on the left",
    "bert, DoRA",
    "bert, head only",
    "bert, last layer in full",
}
