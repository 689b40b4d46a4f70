"""Which adapters of peft are offered, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qfedfm.core.errors import ConfigError, nearest

OFFERED = (
    "beft", "boft", "c3a", "deft", "delora", "fourierft", "glora", "gralora", "hira", "hra", "ia3",
    "ln_tuning", "loha", "lokr", "lora", "miss", "oft", "p_tuning", "peanut", "prefix_tuning", "prompt_tuning", "psoft",
    "randlora", "road", "shira", "supertuning", "tinylora", "unilora", "vblora", "vera", "waveft",
)  # fmt: skip
"""Kinds of peft (``peft_type`` in lower case) that are trained for many clients in one pass, in every family of models
for which peft has them."""

PROMPTS = ("p_tuning", "prefix_tuning", "prompt_tuning")
"""Kinds that put virtual tokens in front of a text and change no module."""

REFUSED: Mapping[str, str] = {
    "adamss": "its layers keep to the precision that they were made in, whatever that of the frozen model",
    "adalora": "its ranks are reallocated by a callback of a training loop that a client does not have",
    "adaption_prompt": "it is made for generating text with Llama and trains no head",
    "cartridge": "it is distilled from the key-value cache of a long text",
    "cpt": "it is made for causal language modelling",
    "frod": "its sparse factors are decomposed from all layers jointly and have no batched product",
    "lily": "its router averages over the tokens of a batch, other rows and padding included",
    "multitask_prompt_tuning": "it wants a task number with every row",
    "osf": "it projects gradients in hooks that see one model at a time",
    "poly": "it wants a task number with every row",
    "pvera": "it draws noise from the global generator in training",
    "shadow": "it trains a second model beside the first",
    "trainable_tokens": "it trains no head",
    "xlora": "it mixes adapters that have been trained before",
}
"""Kinds of peft that are not offered, each with its reason."""

_REMEDY = {"adalora": 'use "lora"', "trainable_tokens": 'use "lora" with options.trainable_token_indices'}

_REFUSED_OPTIONS: Mapping[tuple[str, str], str] = {
    ("boft", "boft_dropout"): "it drops whole blocks of weights for a batch, so that rows could not be regrouped",
    ("loha", "module_dropout"): "it drops the whole layer for a batch, so that rows could not be regrouped",
    ("loha", "rank_dropout"): "it drops whole lines of weights for a batch, so that rows could not be regrouped",
    ("lokr", "module_dropout"): "it drops the whole layer for a batch, so that rows could not be regrouped",
    ("lokr", "rank_dropout"): "it drops whole lines of weights for a batch, so that rows could not be regrouped",
    ("lora", "alora_invocation_tokens"): "it is switched on by tokens of a dialogue",
    ("lora", "arrow_config"): "it mixes adapters that have been trained before",
    ("lora", "kasa_config"): "it truncates the frozen weights",
    ("lora", "layer_replication"): "it copies layers of the frozen model",
    ("lora", "monteclora_config"): "it draws noise from the global generator in training",
    ("lora", "target_parameters"): "it replaces weights in place during the forward pass",
    ("lora", "use_bdlora"): "it is laid out for serving on several devices",
    ("lora", "use_qalora"): "it is made for quantised weights",
    ("lora", "velora_config"): "it compresses activations in a backward pass of its own",
    ("oft", "coft"): "it projects the weights in place during the forward pass",
    ("oft", "module_dropout"): "it drops whole blocks of weights for a batch, so that rows could not be regrouped",
    ("p_tuning", "encoder_dropout"): "it lies inside an LSTM kernel that takes no masks",
}


def check_kind(kind: str) -> None:
    """Refuses a kind that is not offered.

    Raises:
        ConfigError: an unknown kind, or one that peft has and this library does not offer; the reason is said.
    """
    if kind in REFUSED:
        remedy = _REMEDY.get(kind, f"choose one of {', '.join(OFFERED)}")
        raise ConfigError(f"adapter {kind!r}, which is not offered: {REFUSED[kind]}", "", remedy)
    if kind not in OFFERED:
        raise ConfigError(f"unknown adapter {kind!r}", "a kind that is offered", nearest(kind, OFFERED))


def check_options(kind: str, options: Mapping[str, Any]) -> None:
    """Refuses options under which a kind cannot be trained for many clients in one pass.

    Raises:
        ConfigError: such an option is set; the reason is said.
    """
    for option, value in options.items():
        reason = _REFUSED_OPTIONS.get((kind, option))
        if reason is not None and value:
            given = f"option {option!r} = {value!r} of adapter {kind!r}, which is not offered: {reason}"
            raise ConfigError(given, "", "leave it out")
