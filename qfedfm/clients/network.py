"""The model as the fused engine uses it: rows of many lanes in, outputs out, each lane with its own parameters."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64

from qfedfm.adapters.dropout import KeyedDropout, row_seeds
from qfedfm.adapters.tensors import gradient_of, load_vector
from qfedfm.clients import precision as precisions
from qfedfm.clients.encoder import Encoder, Seats, layers_of
from qfedfm.clients.memory import VECTORS, Needs, SavedBytes
from qfedfm.clients.plan import Plan
from qfedfm.clients.prefix import Bypass, PrefixCache, laid
from qfedfm.clients.stacking import stack_modules
from qfedfm.clients.trace import Trace, trace
from qfedfm.core.phases import phase
from qfedfm.tasks.protocol import Task

_log = logging.getLogger("qfedfm")


class Network:
    """A model whose trained modules read their parameters per lane. Alters the model in place.

    Args:
        task: collates rows and calls the model.
        model: in evaluation mode.
        plan: precision, attention, and whether the encoder may be replaced.
        probing: a few rows to look at the model with.

    Raises:
        UnfusableError: a trainable parameter belongs to no called module.
    """

    def __init__(self, task: Task, model: torch.nn.Module, plan: Plan, probing: np.ndarray) -> None:
        self._task, self._model, self._device = task, model, torch.device(plan.device)
        precisions.set_attention(model, plan.attention)
        inputs = task.collate(probing).inputs
        self.found = trace(task, model, inputs)
        model.to(self._device)
        if plan.precision == "bfloat16":
            precisions.lower_base(model, self.found.body)
        self._parameters, self._mapped = stack_modules(model, self.found)
        self._encoder = _encoder(model, self.found, inputs) if plan.encoder == "lean" else None
        if self._encoder is not None:
            self._encoder.first_only = self._reads_first_tokens_only(inputs)
        self._bypass: Bypass | None = None
        self._cache: PrefixCache | None = None

    @property
    def drops(self) -> bool:
        """Whether an adapter has dropout."""
        return any(isinstance(module, KeyedDropout) and module.p > 0 for module in self._model.modules())

    @property
    def lean(self) -> bool:
        """Whether the encoder was replaced."""
        return self._encoder is not None

    @property
    def apart(self) -> bool:
        """Whether passes may run side by side: only where every module is known to be no thread's own."""
        return self._encoder is not None and not self._mapped

    # ---- passes

    def covers(self, rows: np.ndarray) -> Bool[np.ndarray, " n"]:
        """Which rows' hidden states are kept; those are never in one pass with others."""
        return np.zeros(len(rows), bool) if self._cache is None else self._cache.covers(rows)

    def fill(self, rows: np.ndarray, workers: int) -> None:
        """Computes the hidden states of rows that are kept, where they are missing."""
        if self._cache is not None:
            self._cache.fill(rows, workers)

    def outputs(
        self,
        rows: Int64[np.ndarray, "m b"],
        valid: Bool[np.ndarray, "m b"],
        leaves: Mapping[str, torch.Tensor],
        seeds: Int64[torch.Tensor, " n"] | None = None,
    ) -> tuple[Float32[torch.Tensor, "n classes"], torch.Tensor]:
        """Outputs and labels of m lanes with b rows each, lane by lane.

        Args:
            rows: row numbers; where ``valid`` is false any row, whose outputs mean nothing.
            valid: which of them are wanted.
            leaves: parameters [m, *shape] by name.
            seeds: of each row's dropout; None to drop nothing.
        """
        flat = rows.reshape(-1)
        with phase("data"):
            batch = self._task.collate(flat)
            inputs = self._here(batch.inputs)
            kept = self._cache is not None and bool(self._cache.covers(flat[:1])[0])
            mask = _mask(batch.inputs)
        with ExitStack() as stack, phase("forward"):
            stack.enter_context(self._parameters.use(leaves, len(flat)))
            if seeds is not None:
                padding = mask.to(self._device) if "attention_mask" in inputs else None
                stack.enter_context(row_seeds(seeds.to(self._device), padding))
            if self._encoder is not None:
                wanted = flat[valid.reshape(-1)]
                hidden = self._cache.packed(wanted) if kept and self._cache is not None else None
                seats = Seats.of(mask.numpy(), valid, leaves, seeds, hidden, self._device)
                stack.enter_context(self._encoder.seated(seats))
                self._pass_over(
                    stack, None if hidden is None else hidden.new_zeros(()).expand(*mask.shape, hidden.shape[1])
                )
            elif kept and self._cache is not None:
                self._pass_over(stack, laid(self._cache.packed(flat), mask.to(self._device)))
            outputs = self._task.forward(self._model, inputs)
        return outputs.float(), batch.labels.to(self._device)

    def _here(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The model's inputs on its device."""
        return {name: tensor.to(self._device) for name, tensor in inputs.items()}

    def _pass_over(self, stack: ExitStack, hidden: torch.Tensor | None) -> None:
        if self._bypass is not None:
            stack.enter_context(self._bypass.using(hidden))

    # ---- what lies below the lowest trained module

    def keep_prefix(self, lengths: np.ndarray, rows: np.ndarray, cap: int, tokens: int) -> bool:
        """Keeps hidden states of rows from now on, where there are any that never change.

        Args:
            lengths: of every row of the task.
            rows: those worth keeping.
            cap: the most bytes.
            tokens: of a chunk of rows that is computed at once.
        """
        prefix = self.found.prefix
        if prefix is None or not cap or not self._located(lengths, rows):
            return False
        self._bypass = self._bypass or Bypass(self._model, prefix)
        self._cache = PrefixCache(
            self._below, lengths=lengths, rows=rows, token_bytes=self._state_bytes(), cap=cap, tokens=tokens
        )
        return True

    def _located(self, lengths: np.ndarray, rows: np.ndarray) -> bool:
        """Whether it is known where a row lies in a padded batch: by a mask, or because all are equally long."""
        mask = self._task.collate(rows[:1]).inputs.get("attention_mask") if len(rows) else None
        return len(rows) > 0 and (len(np.unique(lengths)) == 1 if mask is None else mask.dim() == 2)

    def _state_bytes(self) -> int:
        """Bytes of the hidden states of one token above the prefix."""
        body, prefix = self.found.body, self.found.prefix
        frozen = (p for name, p in self._model.named_parameters() if name.startswith(body) and not p.requires_grad)
        return 0 if prefix is None else prefix.hidden * next(frozen).element_size()

    def needs(self, lengths: np.ndarray, rows: np.ndarray, size: int, step: Callable[[np.ndarray], object]) -> Needs:
        """What the engine needs in bytes.

        Args:
            lengths: of every row of the task.
            rows: those whose hidden states are worth keeping.
            size: trainable parameters.
            step: takes the gradient of one client on some rows.
        """
        tensors = [*self._model.parameters(), *self._model.buffers()]
        if self._encoder is not None:
            token = self._encoder.token_bytes(int(lengths.max()))
        else:
            row = rows[np.argsort(-lengths[rows])[:1]] if len(rows) else np.zeros(1, np.int64)
            with SavedBytes(tensors) as saved:
                step(row)
            # On the way back there are the gradients of one layer besides.
            token = saved.total * (1 + self._trained_layers()) // self._trained_layers() // int(lengths[row[0]]) + 1
        base = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        cache = self._state_bytes() * int(lengths[rows].sum())
        return Needs(base, token, VECTORS * 4 * size, cache, int(lengths.max()))

    def _trained_layers(self) -> int:
        layers: Any = self._model.get_submodule(self.found.body) if self.found.body else ()
        return max(1, len(layers) - (len(self.found.prefix.layers) if self.found.prefix else 0))

    def forget_prefix(self) -> None:
        """Computes hidden states anew from now on."""
        self._cache = None

    @contextmanager
    def without_cache(self) -> Iterator[None]:
        """Inside, hidden states are computed anew."""
        cache, self._cache = self._cache, None
        try:
            yield
        finally:
            self._cache = cache

    def _below(self, rows: np.ndarray) -> Sequence[torch.Tensor]:
        found = self._task.collate(rows).inputs
        inputs, mask = self._here(found), _mask(found)

        def call() -> object:
            return self._task.forward(self._model, inputs)

        if self._encoder is not None:
            seats = Seats.of(mask.numpy(), np.ones((1, len(rows)), bool), {}, None, None, self._device)
            packed = self._encoder.capture(seats, call)
        elif self._bypass is not None:
            hidden = self._bypass.capture(call)
            if mask.shape != hidden.shape[:2]:  # no mask: every token of the model counts
                return list(hidden)
            packed = hidden[mask.to(self._device)]
        else:
            raise RuntimeError("hidden states of a prefix that is not known")
        return packed.split(mask.sum(1).tolist())  # type: ignore[no-untyped-call,no-any-return]

    # ---- the model without lanes

    def plain_gradient(self, vector: Float32[np.ndarray, " d"], rows: np.ndarray) -> Float32[np.ndarray, " d"]:
        """The gradient of the mean loss as the unchanged modules and autograd give it."""
        load_vector(self._model, vector)
        self._model.zero_grad()
        batch = self._task.collate(rows)
        outputs = self._task.forward(self._model, self._here(batch.inputs)).float()
        self._task.losses(outputs, batch.labels.to(self._device)).mean().backward()  # type: ignore[no-untyped-call]
        return gradient_of(self._model)

    def _reads_first_tokens_only(self, inputs: Mapping[str, torch.Tensor]) -> bool:
        """Whether the outputs depend on the last hidden states of each row's first token and no other."""
        states: list[torch.Tensor] = []

        def replace(_module: torch.nn.Module, _args: Any, output: Any) -> Any:
            states.append(output.last_hidden_state.detach().requires_grad_())
            output.last_hidden_state = states[0]
            return output

        handle = _parent(self._model, self.found).register_forward_hook(replace)
        try:
            outputs = self._task.forward(self._model, self._here(inputs))
        finally:
            handle.remove()
        (gradient,) = torch.autograd.grad(outputs.float().square().sum(), states)
        return bool(gradient[:, 0].any()) and not bool(gradient[:, 1:].any())


def _mask(inputs: Mapping[str, torch.Tensor]) -> Bool[torch.Tensor, "rows tokens"]:
    mask = inputs.get("attention_mask")
    return torch.ones(next(iter(inputs.values())).shape[:2], dtype=torch.bool) if mask is None else mask.bool()


def _parent(model: torch.nn.Module, found: Trace) -> torch.nn.Module:
    return model.get_submodule(found.body.rpartition(".")[0])


def _encoder(model: torch.nn.Module, found: Trace, inputs: Mapping[str, torch.Tensor]) -> Encoder | None:
    mask = inputs.get("attention_mask")
    if mask is not None and (mask.dim() != 2 or not bool(mask[:, 0].all())):
        return None  # padding on the left: the head would read it as a row's first token
    layers = layers_of(model, found)
    if layers is None:
        return None
    return Encoder(_parent(model, found), layers, len(found.prefix.layers) if found.prefix else 0)
