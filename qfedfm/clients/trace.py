"""One recorded forward pass: which modules own trainable parameters, and which layers run before the first of them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from qfedfm.tasks.protocol import Task


class UnfusableError(Exception):
    """The model cannot train several clients in one pass; the message says why."""


@dataclass(frozen=True)
class Prefix:
    """The part of a model that lies below the lowest trainable module.

    Args:
        layers: names of the transformer layers that are passed over, in order.
        source: the module whose output is the first layer's input (the embeddings), passed over as well; "" if none.
        wrapped: whether a layer returns its hidden states inside a tuple.
        hidden: width of the hidden states.
    """

    layers: tuple[str, ...]
    source: str
    wrapped: bool
    hidden: int


@dataclass(frozen=True)
class Trace:
    """What one forward pass showed.

    Args:
        owners: for each module that is called and owns trainable parameters, its parameters: local name → full name.
        body: name of the list of transformer layers, "" if there is none.
        prefix: what lies below the lowest owner, None if nothing does.
        early: the owners that are called before the first of the transformer layers.
        prompts: for each owner that makes prompts for a whole model, the name of that model.
    """

    owners: Mapping[str, Mapping[str, str]]
    body: str
    prefix: Prefix | None
    early: frozenset[str] = frozenset()
    prompts: Mapping[str, str] = field(default_factory=dict)


class _Recorder:
    """Hooks on every module: the order of entries and exits, first inputs, and outputs."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}

    def enter(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.events.append(("enter", name))
        self.inputs[name] = args[0] if args else kwargs.get("hidden_states")

    def leave(self, name: str, output: Any) -> None:
        self.events.append(("exit", name))
        self.outputs[name] = output


def trace(task: Task, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> Trace:
    """Runs the model once without autograd and reads off what the fused engine needs.

    Raises:
        UnfusableError: a trainable parameter belongs to no called module, or to the model as a whole.
    """
    recorder, handles = _Recorder(), []
    for name, module in model.named_modules():
        handles.append(
            module.register_forward_pre_hook(
                lambda _, args, kwargs, name=name: recorder.enter(name, args, kwargs), with_kwargs=True
            )
        )
        handles.append(module.register_forward_hook(lambda _, _args, output, name=name: recorder.leave(name, output)))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # Adapters that read the frozen weight instead of calling its module say that they pass over the hooks.
            warnings.filterwarnings("ignore", "One of the base layers adapted", UserWarning)
            task.forward(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    prompts = _prompt_encoders(model)
    owners = _owners(model, {name for _, name in recorder.events}, prompts)
    body = _body(model, recorder)
    return Trace(owners, body, _prefix(body, owners, recorder), _early(body, owners, recorder), prompts)


def _early(body: str, owners: Mapping[str, Any], recorder: _Recorder) -> frozenset[str]:
    entered = [name for kind, name in recorder.events if kind == "enter"]
    until = entered.index(f"{body}.0") if body else 0
    return frozenset(owners.keys() & set(entered[:until]))


def _owners(model: torch.nn.Module, called: set[str], prompts: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
    found: dict[str, dict[str, str]] = {}
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            first[id(parameter)] = name
    users: dict[str, list[tuple[str, str]]] = {name: [] for name in first.values()}
    # A parameter that several modules share has several names and is gathered for each of them.
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner = _caller(name, called)
        if id(parameter) in first and owner:
            users[first[id(parameter)]].append((owner, name))
    for full, places in users.items():
        owners = {owner for owner, _ in places}
        if not owners:
            raise UnfusableError(f"{full} is used by the model as a whole")
        for owner, name in places:
            # where a container of modules holds it as well, only the modules read it
            if not any(other.startswith(owner + ".") for other in owners):
                found.setdefault(owner, {})[name[len(owner) + 1 :]] = full
    return _merged(found, _adapter_layers(model) & called, set(prompts))


def _caller(name: str, called: set[str]) -> str:
    """The innermost called module that holds a parameter, "" if only the model does."""
    owner = name.rpartition(".")[0]
    while owner and owner not in called:
        owner = owner.rpartition(".")[0]
    return owner


def _merged(
    found: Mapping[str, Mapping[str, str]], layers: set[str], prompts: set[str]
) -> Mapping[str, Mapping[str, str]]:
    """An owner inside another is one with it: their parameters are gathered together.

    So are those of an adapter layer with several, because it may read them in other ways than by calling their owners,
    and those of a prompt encoder.
    """
    merged: dict[str, dict[str, str]] = {}
    for layer in layers | prompts:
        inside = sum(owner.startswith(layer + ".") for owner in found)
        if inside > 1 or (inside and layer in prompts):
            merged[layer] = {}
    for owner in sorted(found, key=len):
        above = next((other for other in merged if owner.startswith(other + ".")), owner)
        for local, full in found[owner].items():
            merged.setdefault(above, {})[f"{owner}.{local}"[len(above) + 1 :]] = full
    return merged


def _prompt_encoders(model: torch.nn.Module) -> Mapping[str, str]:
    """The trainable prompt encoders of peft, each with the name of its model."""
    if "peft" not in sys.modules:
        return {}
    from peft import PeftModel

    found = {}
    for name, module in model.named_modules():
        if isinstance(module, PeftModel) and module.active_peft_config.is_prompt_learning:
            prefix = f"{name}." if name else ""
            found[f"{prefix}prompt_encoder.{module.active_adapter}"] = name
    return found


def _adapter_layers(model: torch.nn.Module) -> set[str]:
    if "peft" not in sys.modules:
        return set()
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {name for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}


def _body(model: torch.nn.Module, recorder: _Recorder) -> str:
    """The largest list of modules that the model calls one after the other, each once."""
    entered = [name for kind, name in recorder.events if kind == "enter"]
    best, most = "", 0
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or not len(module):
            continue
        children = [f"{name}.{i}" for i in range(len(module))]
        known = set(children)
        size = sum(parameter.numel() for parameter in module.parameters())
        if size > most and [other for other in entered if other in known] == children:
            best, most = name, size
    return best


def _prefix(body: str, owners: Mapping[str, Any], recorder: _Recorder) -> Prefix | None:
    first = next(i for i, event in enumerate(recorder.events) if event[0] == "enter" and event[1] in owners)
    layers: list[str] = []
    while body and ("exit", f"{body}.{len(layers)}") in recorder.events[:first]:
        layers.append(f"{body}.{len(layers)}")
    if not layers:
        return None
    output = recorder.outputs[layers[-1]]
    wrapped = isinstance(output, tuple)
    tensor = output[0] if wrapped else output
    if (
        not isinstance(tensor, torch.Tensor)
        or tensor.dim() != 3
        or (wrapped and any(x is not None for x in output[1:]))
    ):
        return None
    sources = [
        name
        for name, found in recorder.outputs.items()
        if found is recorder.inputs[layers[0]] and not body.startswith(name + ".") and name != body
    ]
    return Prefix(tuple(layers), min(sources, key=len, default=""), wrapped, int(tensor.shape[-1]))
