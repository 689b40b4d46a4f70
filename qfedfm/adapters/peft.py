"""Adapters through peft: its kinds, its configurations, its folders."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic
import torch
from jaxtyping import Float32

from qfedfm.adapters.keyed import key_dropout
from qfedfm.adapters.kinds import OFFERED, PROMPTS, check_kind, check_options
from qfedfm.adapters.models import load_classifier, public_name, quiet
from qfedfm.adapters.prompts import align_prompts
from qfedfm.core.errors import ConfigError, nearest
from qfedfm.core.key import Key

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

_OURS = ("task_type", "layers_to_transform", "base_model_name_or_path", "inference_mode", "peft_type")
"""Fields of peft's configurations that `Adapter` fills in itself."""


class Adapter(pydantic.BaseModel):
    """Which parameters of the model are trained and travel.

    Args:
        kind: a peft adapter by its ``peft_type`` in lower case: ``lora``, ``ia3``, ``ln_tuning`` …, of those that
            the fused engine trains for many clients in one pass in every family of models (see ``adapters/kinds.py``).
        options: passed to peft's configuration class of that kind (``r``, ``lora_alpha``, ``target_modules`` …).
            Dropout (``lora_dropout`` …) acts in local training, with masks that come from the run's key.
        layers: ``"all"``, or how many transformer layers, counted from the last, carry the adapter. What lies below the
            lowest one never changes, so it is computed once per row.

    The classification head is always trained, is part of the layout, and is counted. The dropout of the frozen model
    itself stays off: all modules are in evaluation mode.

    Raises:
        ConfigError: a kind or an option that is not offered, with the reason.

    Example:
        >>> Adapter(kind="lora", options={"r": 8}, layers=2).layers
        2
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    kind: str = pydantic.Field(default="lora", json_schema_extra={"enum": list(OFFERED)})
    options: dict[str, Any] = pydantic.Field(default_factory=dict)
    layers: Literal["all"] | pydantic.PositiveInt = "all"

    @pydantic.model_validator(mode="after")
    def _offered(self) -> Adapter:
        check_kind(self.kind)
        check_options(self.kind, self.options)
        return self


def configuration(adapter: Adapter, base: PreTrainedModel, head: tuple[str, ...]) -> PeftConfig:
    """The configuration object of peft that an adapter stands for.

    Args:
        adapter: the choice.
        base: the model, which says how many layers there are.
        head: names of the modules that the checkpoint lacks, trained whole beside the adapter.

    Raises:
        ConfigError: an unknown kind or option, a value that peft refuses, or more layers than the model has.
    """
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kinds = {kind.value.lower(): cls for kind, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if adapter.kind not in kinds:
        raise ConfigError(f"adapter {adapter.kind!r}, which the installed peft lacks", "", "install a newer peft")
    known = {field.name for field in dataclasses.fields(kinds[adapter.kind]) if field.init} - set(_OURS)
    for option in adapter.options:
        if option not in known:
            raise ConfigError(f"unknown option {option!r} of adapter {adapter.kind!r}", "", nearest(option, known))
    text = base.main_input_name == "input_ids"
    if not text and adapter.kind in PROMPTS:
        given = f"adapter {adapter.kind!r} for a model that reads {base.main_input_name}"
        raise ConfigError(given, "an adapter of modules: virtual tokens stand in front of a text", 'use "lora"')
    options = {"task_type": "SEQ_CLS" if text else None, **_layers(adapter, kinds[adapter.kind], base)}
    if "fan_in_fan_out" in known:
        options["fan_in_fan_out"] = _transposed(base)
    options |= adapter.options
    if "modules_to_save" in known:
        trained = {*(adapter.options.get("modules_to_save") or ()), *head, *_heads(base)}
        outer = {name for name in trained if not any(name.startswith(f"{other}.") for other in trained)}
        options["modules_to_save"] = sorted(outer) or None
    try:
        return kinds[adapter.kind](**options)
    except (TypeError, ValueError, ImportError) as error:
        given = f"adapter {adapter.kind!r} with options {adapter.options}: {error}"
        raise ConfigError(given, "options that peft accepts") from None


def _transposed(base: PreTrainedModel) -> bool:
    """Whether the model's linear layers store their weights as [in, out] (GPT-2)."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in base.modules())


def _heads(base: PreTrainedModel) -> tuple[str, ...]:
    """The classification head by the names that transformers gives it."""
    return tuple(name for name in ("classifier", "score") if isinstance(getattr(base, name, None), torch.nn.Module))


def _layers(adapter: Adapter, cls: type, base: PreTrainedModel) -> dict[str, Any]:
    if adapter.layers == "all":
        return {}
    total = int(base.config.num_hidden_layers)
    if "layers_to_transform" not in {field.name for field in dataclasses.fields(cls)}:
        given = f"layers = {adapter.layers} for adapter {adapter.kind!r}, which peft cannot restrict to layers"
        raise ConfigError(given, 'layers = "all"', "name the modules of the layers in full in options.target_modules")
    if adapter.layers > total:
        raise ConfigError(f"layers = {adapter.layers}", f"at most {total}, which the model has")
    return {"layers_to_transform": list(range(total - adapter.layers, total))}


def attach(base: PreTrainedModel, adapter: Adapter, key: Key, untrained: frozenset[str] = frozenset()) -> PeftModel:
    """The model with the adapter, in evaluation mode; the trainable parameters' first values come from the key alone.

    Args:
        base: the pretrained model; peft changes its modules in place.
        adapter: the choice.
        key: draws the adapter and the new head.
        untrained: parameters that the checkpoint lacks. The modules that hold them are trained whole; their matrices
            are drawn from N(0, σ²), σ being the model's ``initializer_range``.

    Raises:
        ConfigError: an option is wrong, no module of the model is a target, or the initialisation of the adapter
            changes the frozen weights (PiSSA, OLoRA …), which all clients and saved adapters share.
    """
    import peft

    head = tuple(sorted({name.rpartition(".")[0] for name in untrained}))
    frozen = _checksums(base)
    config = configuration(adapter, base, head)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(key.fold("adapter").integer())
        try:
            model = peft.get_peft_model(base, config)
        except (ValueError, TypeError, AttributeError, ImportError, RuntimeError) as error:
            reason = str(error).partition(". ")[0].splitlines()[0]
            remedy = "check task.adapter.options; target_modules must name modules of this model"
            raise ConfigError(f"adapter {adapter.kind!r} does not fit the model: {reason}", "", remedy) from None
        torch.manual_seed(key.fold("head").integer())
        _draw_head(model, untrained)
    if _checksums(model.get_base_model(), set(frozen)) != frozen:
        given = f"an initialisation of adapter {adapter.kind!r} that changes the frozen weights ({adapter.options})"
        raise ConfigError(given, "frozen weights that stay as they are", "leave the initialisation at peft's default")
    key_dropout(model)
    align_prompts(model)
    return model.eval()


def _plain(name: str) -> str:
    """A parameter's name before peft wrapped its module."""
    return name.replace(".base_layer.", ".").replace(".original_module.", ".").replace("base_model.model.", "")


def _checksums(model: torch.nn.Module, names: set[str] | None = None) -> dict[str, float]:
    sums = {_plain(name): float(value.double().sum()) for name, value in _parameters(model)}
    return sums if names is None else {name: total for name, total in sums.items() if name in names}


def _parameters(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    with torch.no_grad():
        yield from ((n, p) for n, p in model.named_parameters() if ".modules_to_save." not in n)


def _draw_head(model: PeftModel, untrained: frozenset[str]) -> None:
    std = float(getattr(model.config, "initializer_range", None) or 0.02)
    for name, value in model.named_parameters():
        path, saved, parameter = name.partition(".modules_to_save.default.")
        if saved and _plain(f"{path}.{parameter}") in untrained and value.ndim > 1:
            torch.nn.init.normal_(value, std=std)


def save(model: PeftModel, vector: Float32[np.ndarray, " d"], folder: str | Path, base: str) -> Path:
    """Writes the adapter and the head as a folder that ``PeftModel.from_pretrained(base_model, folder)`` loads.

    Args:
        model: made by `attach`; left with ``vector`` as its trainable parameters.
        vector: the trainable parameters in the layout of the model.
        folder: made if it is missing.
        base: the model's name in the configuration; a packaged model is referred to by its hub name, so that the
            folder means the same on another machine.
    """
    from qfedfm.adapters.tensors import load_vector

    load_vector(model, vector)
    model.peft_config["default"].base_model_name_or_path = public_name(base)
    with quiet():
        # peft would otherwise ask the hub whether the vocabulary was changed
        model.save_pretrained(str(folder), save_embedding_layers=False)
    return Path(folder)


def build_classifier(name: str, classes: int, adapter: Adapter, key: Key, labels: Mapping[int, str]) -> PeftModel:
    """The pretrained model ``name`` with a head for ``classes`` classes and the adapter attached."""
    base, untrained = load_classifier(name, classes)
    base.config.id2label = dict(labels)
    base.config.label2id = {label: index for index, label in labels.items()}
    return attach(base, adapter, key, untrained)
