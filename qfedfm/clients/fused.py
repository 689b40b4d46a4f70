"""The fused engine: the clients of a round as one batch, each with its own adapter, on one frozen base."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float32

from qfedfm.adapters.tensors import gradient_of, layout_of, load_vector, vector_of
from qfedfm.clients import precision as precisions
from qfedfm.clients.batching import cut
from qfedfm.clients.jobs import Job, LocalOptimizer, Query, Trained
from qfedfm.clients.optimiser import Lanes, check_job, step_
from qfedfm.clients.plan import choose, repeat
from qfedfm.clients.prefix import Bypass, PrefixCache
from qfedfm.clients.relabelling import relabelled
from qfedfm.clients.selfcheck import TOLERANCE, distance, probe_rows
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.clients.stacking import stack_modules
from qfedfm.clients.trace import UnfusableError, trace
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.tasks.protocol import Task

_log = logging.getLogger("qfedfm")


class FusedEngine:
    """Trains all jobs in one pass over the model.

    Every module with trainable parameters reads them per row of the batch, so that rows of all clients are sorted by
    length and cut into micro-batches together; the loss of a step is Σₖ mean loss of client k, whose gradient with
    respect to each client's own parameters is that client's gradient. The frozen base is shared, in bfloat16 where
    that pays; adapters and optimisers are float32. What lies below the lowest trainable module is computed once for
    each row. Results do not depend on the order of the jobs, on what was trained or evaluated before, or on the state
    of the cache.

    When a module cannot be mapped over rows, or a check on a few rows shows a wrong gradient, training falls back to
    the sequential engine, with one line in the log that says why.

    Args:
        task: model, data and loss; ``task.model`` must return a model that nobody else uses, because it is altered.
        key: draws the first values of the adapter.
        device: where to run; None takes CUDA when there is one.
        precision: of the frozen base; ``auto`` measures.
        plan: of an earlier engine, repeated without measuring; it overrides device, precision and micro-batches.
        cache_bytes: the most that kept hidden states may take; 0 keeps none.
        cache_rows: the rows worth keeping, by default all; naming those that a run uses saves computing the others.
        micro_batch_tokens: tokens in one forward and backward pass, padding included; None chooses by device.

    Raises:
        ConfigError: the device, the precision or the plan is not one that this machine or version has.
    """

    def __init__(
        self,
        task: Task,
        key: Key,
        *,
        device: str | None = None,
        precision: str = "auto",
        plan: Mapping[str, str] | None = None,
        cache_bytes: int = 2**31,
        cache_rows: np.ndarray | None = None,
        micro_batch_tokens: int | None = None,
    ) -> None:
        self.task = task
        self.model = task.model(key).eval()
        self.layout: Layout = layout_of(self.model)
        self.first: np.ndarray = vector_of(self.model)
        self._lengths = task.lengths()
        self._sequential: SequentialEngine | None = None
        self._cache: PrefixCache | None = None
        self._bypass: Bypass | None = None
        self._plan = choose(self.model, device, precision, micro_batch_tokens) if plan is None else repeat(plan)
        self._device = torch.device(self._plan.device)
        if self._plan.engine == "fused":
            rows = np.arange(len(self._lengths)) if cache_rows is None else cache_rows
            try:
                self._prepare(cache_bytes, rows)
                self._check(key)
            except (UnfusableError, RuntimeError, ValueError, TypeError, NotImplementedError, KeyError) as error:
                _log.warning("training one client after the other: %s", " ".join(str(error).split())[:200])
                self._plan = replace(self._plan, engine="sequential", precision="float32", prefix="computed")
        if self._plan.engine != "fused":
            self._sequential = SequentialEngine(task, key, self._plan.device)
            self.model = self._sequential.model

    def _prepare(self, cache_bytes: int, cache_rows: np.ndarray) -> None:
        precisions.set_attention(self.model, self._plan.attention)
        self._probing = probe_rows(self._lengths)
        inputs = self.task.collate(self._probing[:1]).inputs
        found = trace(self.task, self.model, inputs)
        self.model.to(self._device)
        if self._plan.precision == "bfloat16":
            precisions.lower_base(self.model, found.body)
        self._parameters = stack_modules(self.model, found)
        # Without a mask nothing says where in a padded batch a row's hidden states lie.
        mask = inputs.get("attention_mask")
        located = len(np.unique(self._lengths)) == 1 if mask is None else mask.dim() == 2
        if found.prefix is None or not cache_bytes or not len(cache_rows) or not located:
            return
        self._bypass = Bypass(self.model, found.prefix)
        cache = PrefixCache(
            self.task,
            self.model,
            self._bypass,
            lengths=self._lengths,
            rows=cache_rows,
            token_bytes=found.prefix.hidden * (2 if self._plan.precision == "bfloat16" else 4),
            cap=cache_bytes,
            tokens=2 * self._plan.micro_batch_tokens,
            device=self._device,
        )
        rows = np.unique(cache_rows)
        if self._same_outputs(cache, rows[probe_rows(self._lengths[rows])]):
            self._cache, self._plan = cache, replace(self._plan, prefix="kept")
        else:
            _log.warning("hidden states are not kept: the layers above need more than them")

    def _same_outputs(self, cache: PrefixCache, rows: np.ndarray) -> bool:
        """Whether the model gives the same outputs over kept hidden states as without."""
        rows = rows[cache.covers(rows)]
        if not len(rows):
            return True
        plain = self._outputs(self.first, rows)
        self._cache = cache
        try:
            kept = self._outputs(self.first, rows)
        except (RuntimeError, ValueError, TypeError):
            return False
        finally:
            self._cache = None
        return distance(kept, plain) <= TOLERANCE[self._plan.precision]

    def _check(self, key: Key) -> None:
        """Compares the fused gradient of a few rows, each its own client, with that of the plain model.

        Raises:
            UnfusableError: they differ by more than rounding, so that rows do not pass through the model apart.
        """
        noise = key.fold("self-check").numpy().normal(size=(len(self._probing), self.layout.size))
        starts = (self.first + 0.02 * noise).astype(np.float32)
        jobs = [Job(i, start, (self._probing[i : i + 1],), np.ones(1)) for i, start in enumerate(starts)]
        lanes = Lanes.of(jobs, LocalOptimizer("sgd"), self._device)
        self._gradients(jobs, 0, lanes)
        for job, fused in zip(jobs, lanes.gradient.cpu().numpy(), strict=True):
            _, plain = self.gradient(job.start, job.rows[0])
            if not distance(fused, plain) <= TOLERANCE[self._plan.precision]:
                raise UnfusableError(f"the fused gradient differs from the plain one by {distance(fused, plain):.1%}")

    # ---- training

    def train(self, jobs: Sequence[Job]) -> Iterator[Trained]:
        """All jobs, in their order; those with one optimiser together.

        Raises:
            DataError: a job does not fit the layout, has a step without rows, or steps without rates.
        """
        if self._sequential is not None:
            return self._sequential.train(jobs)
        for job in jobs:
            check_job(job, self.layout)
        return self._train(jobs)

    def _train(self, jobs: Sequence[Job]) -> Iterator[Trained]:
        for (_, optimizer), together in itertools.groupby(jobs, lambda job: (job.group, job.optimizer)):
            yield from self._together(list(together), optimizer)

    def _together(self, jobs: Sequence[Job], optimizer: LocalOptimizer) -> list[Trained]:
        # Clients with more steps first: those still at work are then a leading block of every matrix.
        order = sorted(range(len(jobs)), key=lambda i: (-len(jobs[i].rows), jobs[i].client, i))
        ordered = [jobs[i] for i in order]
        lanes = Lanes.of(ordered, optimizer, self._device)
        losses = []
        for step in range(len(ordered[0].rows)):
            active = sum(len(job.rows) > step for job in ordered)
            losses.append(self._gradients(ordered[:active], step, lanes.first(active)))
            step_(lanes.first(active), np.asarray([float(job.rates[step]) for job in ordered[:active]]), optimizer)
        delta = (lanes.x - lanes.start).cpu().numpy()
        found: dict[int, Trained] = {}
        for lane, (i, job) in enumerate(zip(order, ordered, strict=True)):
            mine = np.asarray([float(step[lane]) for step in losses[: len(job.rows)]])
            state = lanes.state(lane, optimizer) if job.rows else job.state
            found[i] = Trained(job.client, delta[lane].copy(), mine, state)
        return [found[i] for i in range(len(jobs))]

    def _gradients(self, jobs: Sequence[Job], step: int, lanes: Lanes) -> Float[np.ndarray, " k"]:
        """Fills ``lanes.gradient`` and returns each client's mean loss."""
        lanes.gradient.zero_()
        rows = np.concatenate([job.rows[step] for job in jobs])
        sizes = np.asarray([len(job.rows[step]) for job in jobs])
        lane = np.repeat(np.arange(len(jobs)), sizes)
        weights = (1.0 / sizes[lane]).astype(np.float32)
        changed = relabelled(jobs, step, self.task)
        total = torch.zeros(len(jobs), device=self._device)
        for positions in self._micro_batches(rows):
            index = torch.from_numpy(lane[positions]).to(self._device)
            weight = torch.from_numpy(weights[positions]).to(self._device)
            losses = self._backward(rows[positions], changed, positions, index, weight, lanes)
            total.index_add_(0, index, losses * weight)
        return np.asarray(total.cpu().numpy())

    def _backward(
        self,
        rows: np.ndarray,
        changed: Mapping[int, torch.Tensor],
        positions: np.ndarray,
        index: torch.Tensor,
        weight: torch.Tensor,
        lanes: Lanes,
    ) -> torch.Tensor:
        """One micro-batch: adds its gradients to ``lanes.gradient`` and returns the loss of each row."""
        gathered = lanes.x.index_select(0, index)
        leaves = {
            entry.name: gathered[:, entry.start : entry.stop].view(len(rows), *entry.shape).requires_grad_()
            for entry in self.layout
        }
        outputs, labels = self._forward(rows, leaves)
        if changed:
            labels = torch.stack(
                [changed.get(int(position), labels[i]).to(labels) for i, position in enumerate(positions)]
            )
        losses = self.task.losses(outputs, labels)
        gradients = torch.autograd.grad((losses * weight).sum(), list(leaves.values()), allow_unused=True)
        flat = torch.cat(
            [
                (torch.zeros_like(leaf) if gradient is None else gradient).reshape(len(rows), -1)
                for leaf, gradient in zip(leaves.values(), gradients, strict=True)
            ],
            dim=1,
        )
        if flat.is_cuda:
            lanes.gradient.index_put_((index,), flat, accumulate=True)  # index_add_ is not deterministic there
        else:
            lanes.gradient.index_add_(0, index, flat)
        return losses.detach()

    # ---- evaluation

    def outputs(self, queries: Sequence[Query]) -> list[Float32[np.ndarray, "n classes"]]:
        """For each query the model's outputs on its rows, in their order, in float32."""
        if self._sequential is not None:
            return self._sequential.outputs(queries)
        return [self._outputs(query.vector, query.rows) for query in queries]

    def _outputs(self, vector: Float32[np.ndarray, " d"], rows: np.ndarray) -> Float32[np.ndarray, "n classes"]:
        load_vector(self.model, vector)
        found = np.zeros((len(rows), self.task.classes), np.float32)
        with torch.no_grad():
            for positions in self._micro_batches(rows):
                found[positions] = self._forward(rows[positions], None)[0].cpu().numpy()
        return found

    def gradient(self, vector: Float32[np.ndarray, " d"], rows: np.ndarray) -> tuple[float, Float32[np.ndarray, " d"]]:
        """Mean loss over the rows and its gradient at ``vector``."""
        if self._sequential is not None:
            return self._sequential.gradient(vector, rows)
        load_vector(self.model, vector)
        self.model.zero_grad()
        total = 0.0
        for positions in self._micro_batches(rows):
            outputs, labels = self._forward(rows[positions], None)
            loss = self.task.losses(outputs, labels).sum() / len(rows)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total, gradient_of(self.model)

    def plan(self) -> Mapping[str, str]:
        """What was chosen for this machine, to be given as ``plan`` when a run is resumed."""
        return self._plan.mapping()

    # ---- common

    def _micro_batches(self, rows: np.ndarray) -> list[np.ndarray]:
        """Positions of rows in passes: by length, then by row, those with kept hidden states apart from the others."""
        order = np.argsort(rows, kind="stable")
        kept = np.zeros(len(rows), bool) if self._cache is None else self._cache.covers(rows[order])
        return [
            group[positions]
            for group in (order[kept], order[~kept])
            for positions in cut(self._lengths[rows[group]], self._plan.micro_batch_tokens)
        ]

    def _forward(
        self, rows: np.ndarray, leaves: Mapping[str, torch.Tensor] | None
    ) -> tuple[Float32[torch.Tensor, "n classes"], torch.Tensor]:
        batch = self.task.collate(rows)
        inputs = {name: tensor.to(self._device) for name, tensor in batch.inputs.items()}
        hidden = None
        if self._cache is not None and bool(self._cache.covers(rows[:1])[0]):
            hidden = self._cache.hidden(rows, inputs.get("attention_mask"))
        passed_over = nullcontext() if self._bypass is None else self._bypass.using(hidden)
        with self._parameters.use(leaves), passed_over:
            outputs = self.task.forward(self.model, inputs)
        return outputs.float(), batch.labels.to(self._device)
