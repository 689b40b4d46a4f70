"""Puts the written-out encoder of `lean` in the place of a transformers model's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from qfedfm.adapters.dropout import KeyedDropout
from qfedfm.clients.bins import LENGTH, Bins, pack
from qfedfm.clients.lean import Encode, Layer, Norm, encode
from qfedfm.clients.lora import plain_pair
from qfedfm.clients.prefix import ReachedError, states_above
from qfedfm.clients.products import Linear, Pair, Pass
from qfedfm.clients.trace import Trace


@dataclass(frozen=True)
class Seats:
    """The rows of one pass, as the encoder has to know them.

    Args:
        token: the place of each token of each real row in the padded batch, flattened.
        real: the rows that are no filling.
        lane: the lane of each real row.
        bins: where their tokens lie.
        shape: rows and tokens of the padded batch.
        leaves: trainable parameters [lanes, *shape] by name.
        seeds: the dropout's seed of each real row, None where nothing is dropped.
        hidden: the real rows' hidden states above the prefix, if they are known.
    """

    token: Int64[torch.Tensor, " tokens"]
    real: Int64[torch.Tensor, " rows"]
    lane: Int64[np.ndarray, " rows"]
    bins: Bins
    shape: tuple[int, int]
    leaves: Mapping[str, torch.Tensor]
    seeds: Int64[torch.Tensor, " rows"] | None
    hidden: Float[torch.Tensor, "tokens hidden"] | None

    @classmethod
    def of(
        cls,
        mask: Bool[np.ndarray, "rows tokens"],
        valid: Bool[np.ndarray, "lanes b"],
        leaves: Mapping[str, torch.Tensor],
        seeds: torch.Tensor | None,
        hidden: torch.Tensor | None,
        device: torch.device,
    ) -> Seats:
        """Seats for a padded batch, ``mask`` true where a row has a token, ``valid`` where a row is no filling."""
        real = np.flatnonzero(valid)
        token = torch.from_numpy(np.flatnonzero(mask & valid.reshape(-1, 1))).to(device)
        bins = pack(mask[real].sum(1))
        rows, tokens = mask.shape
        lane = real // valid.shape[1]
        return cls(
            token,
            torch.from_numpy(real).to(device),
            lane,
            bins,
            (rows, tokens),
            leaves,
            None if seeds is None else seeds[real],
            hidden,
        )


class _Now(threading.local):
    """What the encoder is asked for; each thread has its own."""

    def __init__(self) -> None:
        self.seats: Seats | None = None
        self.capturing = False


class Encoder:
    """Replaces a module's forward, in place; without seats the module computes as before.

    Args:
        module: the encoder of a BERT or RoBERTa.
        layers: what `layers_of` found in it.
        prefix: how many layers lie below the lowest trained one.
    """

    def __init__(self, module: torch.nn.Module, layers: Sequence[Layer], prefix: int) -> None:
        self.first_only = False
        self._layers, self._prefix = tuple(layers), prefix
        self._now = _Now()
        self._names = tuple(
            name
            for layer in layers
            for linear in (layer.qkv, layer.attended, layer.wide, layer.narrow)
            for _, pair in linear.pairs
            for name in (pair.a, pair.b)
        )
        plain: Any = module.forward

        def forward(hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if self._now.seats is None:
                return plain(hidden_states, *args, **kwargs)
            from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

            return BaseModelOutputWithPastAndCrossAttentions(
                last_hidden_state=self._run(hidden_states, self._now.seats)
            )

        module.forward = forward

    def token_bytes(self, longest: int) -> int:
        """Bytes that a pass takes for each slot of its bins, in a task whose longest row has ``longest`` tokens."""
        layer, length = self._layers[-1], max(LENGTH, longest)
        wide, hidden = layer.wide.weight.shape
        inputs = any(linear.pairs for each in self._layers for linear in (each.attended, each.wide, each.narrow))
        kept = 7 * hidden + wide + layer.heads * length + (3 * hidden + wide if inputs else 0)
        # One layer at a time holds its scores, or two gradients of them, and its widest products; the mask is for all.
        passing = (2 * layer.heads + 1) * length + 6 * hidden + 3 * wide
        count = max(1, len(self._layers) - self._prefix)
        return (kept * count + passing) * layer.wide.weight.element_size()

    @contextmanager
    def seated(self, seats: Seats | None) -> Iterator[None]:
        """Inside, passes over the model run here with these seats; None leaves the module as it was."""
        self._now.seats = seats
        try:
            yield
        finally:
            self._now.seats = None

    def capture(self, seats: Seats, call: Callable[[], object]) -> torch.Tensor:
        """The hidden states [tokens, hidden] of the real rows above the prefix, of a pass over the model."""
        self._now.capturing = True
        try:
            with self.seated(seats):
                return states_above(call)
        finally:
            self._now.capturing = False

    def _run(self, states: torch.Tensor, seats: Seats) -> torch.Tensor:
        """The last hidden states [rows, tokens, hidden], or [rows, 1, hidden] where only first tokens are read."""
        like, packed = self._layers[0].qkv.weight, seats.hidden
        if packed is None:
            packed = states.reshape(-1, states.shape[-1]).index_select(0, seats.token).to(like.dtype)
        slot, token, first = (
            torch.from_numpy(index).to(like.device) for index in (seats.bins.slot, seats.bins.token, seats.bins.first)
        )
        x = packed.index_select(0, token)
        now = Pass.of(seats.bins, seats.lane, seats.leaves, seats.seeds, like)
        if seats.hidden is None and self._prefix:
            with torch.no_grad():
                x, _ = encode(x, self._layers[: self._prefix], now, None, keep=False)
        if self._now.capturing:
            raise ReachedError(x.index_select(0, slot))
        only = first if self.first_only else None
        leaves = [seats.leaves[name] for name in self._names]
        y: torch.Tensor = Encode.apply(x, self._layers[self._prefix :], now, only, self._names, *leaves)  # type: ignore[no-untyped-call]
        rows, tokens = seats.shape
        if self.first_only:
            return y.new_zeros(rows, 1, y.shape[1]).index_copy(0, seats.real, y.unsqueeze(1))
        found = y.new_zeros(rows * tokens, y.shape[1]).index_copy(0, seats.token, y.index_select(0, slot))
        return found.view(rows, tokens, -1)


def layers_of(model: torch.nn.Module, found: Trace) -> tuple[Layer, ...] | None:
    """The layers of a BERT or RoBERTa encoder whose only trainable parameters are plain LoRA pairs; else None.

    The weights of query, key and value are moved into one matrix, of which they become views.
    """
    modules = dict(model.named_modules())
    inside = {owner: names for owner, names in found.owners.items() if owner.startswith(found.body + ".")}
    pairs = {owner: plain_pair(modules[owner], names) for owner, names in inside.items()}
    if not found.body or None in pairs.values() or found.early:
        return None
    adapted = {name for name, module in modules.items() if hasattr(module, "base_layer")}
    if any(name.startswith(found.body + ".") for name in adapted - set(inside)):
        return None
    layers: Any = modules[found.body]
    if not all(_is_layer(layer) for layer in layers):
        return None
    scales = {owner: _pair(modules[owner], pair) for owner, pair in pairs.items() if pair is not None}
    return tuple(_layer(layer, f"{found.body}.{i}", scales) for i, layer in enumerate(layers))


def _pair(module: Any, names: tuple[str, str]) -> Pair:
    adapter = module.active_adapters[0]
    dropout = module.lora_dropout[adapter]
    return Pair(*names, float(module.scaling[adapter]), dropout if isinstance(dropout, KeyedDropout) else None)


def _is_layer(layer: Any) -> bool:
    """Whether `lean` computes what this module computes."""
    from transformers.models.bert.modeling_bert import BertLayer
    from transformers.models.roberta.modeling_roberta import RobertaLayer

    if type(layer) not in (BertLayer, RobertaLayer) or layer.is_decoder or layer.add_cross_attention:
        return False
    own, out = layer.attention.self, layer.attention.output
    products = [own.query, own.key, own.value, out.dense, layer.intermediate.dense, layer.output.dense]
    parts: list[tuple[Any, Any]] = [(_base(module), torch.nn.Linear) for module in products]
    parts += [(norm, torch.nn.LayerNorm) for norm in (out.LayerNorm, layer.output.LayerNorm)]
    x = torch.linspace(-4, 4, 33)
    activated = layer.intermediate.intermediate_act_fn(x)
    return (
        all(type(part) is kind and part.weight is not None and part.bias is not None for part, kind in parts)
        and not any(module._forward_hooks or module._forward_pre_hooks for module in layer.modules())
        and own.scaling == own.attention_head_size**-0.5
        and torch.allclose(activated, torch.nn.functional.gelu(x), rtol=0, atol=1e-6)
    )


def _layer(layer: Any, name: str, pairs: Mapping[str, Pair]) -> Layer:
    own, out = layer.attention.self, layer.attention.output
    return Layer(
        _merged(own, f"{name}.attention.self", pairs),
        _linear(out.dense, f"{name}.attention.output.dense", pairs),
        _norm(out.LayerNorm),
        _linear(layer.intermediate.dense, f"{name}.intermediate.dense", pairs),
        _linear(layer.output.dense, f"{name}.output.dense", pairs),
        _norm(layer.output.LayerNorm),
        own.num_attention_heads,
    )


def _norm(norm: torch.nn.LayerNorm) -> Norm:
    return Norm(norm.weight.detach(), norm.bias.detach(), norm.eps)


def _base(module: Any) -> torch.nn.Linear:
    base: torch.nn.Linear = getattr(module, "base_layer", module)
    return base


def _linear(module: Any, name: str, pairs: Mapping[str, Pair]) -> Linear:
    base = _base(module)
    own = ((slice(0, base.out_features), pairs[name]),) if name in pairs else ()
    return Linear(base.weight.detach(), base.bias.detach(), own)


def _merged(own: Any, name: str, pairs: Mapping[str, Pair]) -> Linear:
    parts = [_base(getattr(own, part)) for part in ("query", "key", "value")]
    weight, bias = torch.cat([part.weight.detach() for part in parts]), torch.cat([p.bias.detach() for p in parts])
    size, found = len(bias) // 3, []
    for i, (part, kind) in enumerate(zip(parts, ("query", "key", "value"), strict=True)):
        columns = slice(i * size, (i + 1) * size)
        part.weight.data, part.bias.data = weight[columns], bias[columns]
        if f"{name}.{kind}" in pairs:
            found.append((columns, pairs[f"{name}.{kind}"]))
    return Linear(weight, bias, tuple(found))
