"""The fused engine: the clients of a round as one batch, each with its own adapter, on one frozen base."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from jaxtyping import Float, Float32

from qfedfm.adapters.tensors import layout_of, vector_of
from qfedfm.clients.dropout import pass_seeds
from qfedfm.clients.jobs import Job, LocalOptimizer, Query, Trained
from qfedfm.clients.memory import budget, fitted, guarded
from qfedfm.clients.network import Network
from qfedfm.clients.optimiser import Lanes, check_job, check_vector, step_
from qfedfm.clients.passes import PassRows, packed_passes, padded_passes, passes_over
from qfedfm.clients.plan import choose, repeat, settled
from qfedfm.clients.relabelling import trained_labels
from qfedfm.clients.selfcheck import TOLERANCE, distance, probe_rows
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.clients.stacking import leaves_of
from qfedfm.clients.trace import UnfusableError
from qfedfm.clients.workers import side_by_side
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.phases import phase
from qfedfm.tasks.protocol import Task

_log = logging.getLogger("qfedfm")


class FusedEngine:
    """Trains all jobs in one pass over the model.

    A lane is one client with its own parameters, or one model to evaluate. Every module with trainable parameters reads
    them per lane, so that the rows of many lanes go through the model together; the loss of a step is Σₖ mean loss of
    client k, whose gradient with respect to each client's own parameters is that client's gradient. The frozen base is
    shared, in bfloat16 where that pays; adapters and optimisers are float32. What lies below the lowest trainable
    module is computed once for each row, and the layers of BERT and RoBERTa are written out (see `lean`), whose passes
    run side by side on a CPU. Results do not depend on the order of the jobs, on what was trained or evaluated before,
    on the state of the cache, or on the number of those threads.

    When a module cannot be mapped over lanes, or a check on a few rows shows a wrong gradient, training falls back to
    the sequential engine, with one line in the log that says why.

    Args:
        task: model, data and loss; ``task.model`` must return a model that nobody else uses, because it is altered.
        key: draws the first values of the adapter.
        device: where to run; None takes CUDA when there is one.
        precision: of the frozen base; ``auto`` measures.
        plan: of an earlier engine, repeated without measuring; it overrides device, precision and micro-batches.
        memory: bytes that the engine may use, see `memory`; None for 4 GB, or three quarters of a GPU.
        cache_bytes: the most that kept hidden states may take; None as the memory allows, 0 keeps none.
        cache_rows: the rows worth keeping, by default all; naming those that a run uses saves computing the others.
        micro_batch_tokens: tokens in one forward and backward pass; None chooses by device.
        encoder: ``auto`` replaces the layers of a BERT or RoBERTa on a CPU, ``modules`` leaves them.

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
        memory: int | None = None,
        cache_bytes: int | None = None,
        cache_rows: np.ndarray | None = None,
        micro_batch_tokens: int | None = None,
        encoder: str = "auto",
    ) -> None:
        self.task = task
        self.model = task.model(key).eval()
        self.layout: Layout = layout_of(self.model)
        self.first: np.ndarray = vector_of(self.model)
        self._lengths = task.lengths()
        self._sequential: SequentialEngine | None = None
        self._plan = (
            choose(self.model, device, precision, micro_batch_tokens, encoder) if plan is None else repeat(plan)
        )
        self._device = torch.device(self._plan.device)
        if self._plan.engine == "fused":
            rows = np.arange(len(self._lengths)) if cache_rows is None else np.unique(cache_rows)
            try:
                with guarded():
                    self._prepare(rows, memory, cache_bytes, repeated=plan is not None)
                    self._check(key)
            except (UnfusableError, RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
                _log.warning("training one client after the other: %s", " ".join(str(error).split())[:200])
                self._plan = replace(self._plan, engine="sequential", precision="float32", prefix="computed")
        if self._plan.engine != "fused":
            self._sequential = SequentialEngine(task, key, self._plan.device)
            self.model = self._sequential.model

    def _prepare(self, rows: np.ndarray, memory: int | None, cache_bytes: int | None, *, repeated: bool) -> None:
        self._probing = probe_rows(self._lengths)
        self._network = Network(self.task, self.model, self._plan, self._probing)
        self._drops = self._network.drops
        self._plan = settled(self._plan, lean=self._network.lean, apart=self._network.apart)
        if not repeated:
            needs = self._network.needs(
                self._lengths, rows, self.layout.size, lambda one: self.gradient(self.first, one)
            )
            self._plan = fitted(self._plan, needs, budget(memory, self._device))
        cap = self._plan.cache_bytes if cache_bytes is None else min(cache_bytes, self._plan.cache_bytes)
        self._plan = replace(self._plan, cache_bytes=cap, prefix="computed")
        if not self._network.keep_prefix(self._lengths, rows, cap, 2 * self._plan.micro_batch_tokens):
            return
        if self._same_outputs(rows[probe_rows(self._lengths[rows])]):
            self._plan = replace(self._plan, prefix="kept")
        else:
            self._network.forget_prefix()
            _log.warning("hidden states are not kept: the layers above need more than them")

    def _same_outputs(self, rows: np.ndarray) -> bool:
        """Whether the model gives the same outputs over kept hidden states as without."""
        rows = rows[self._network.covers(rows)]
        if not len(rows):
            return True
        try:
            kept = self._evaluate([Query(self.first, rows)])[0]
        except (RuntimeError, ValueError, TypeError):
            return False
        with self._network.without_cache():
            plain = self._evaluate([Query(self.first, rows)])[0]
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
            plain = self._network.plain_gradient(job.start, job.rows[0])
            if not distance(fused, plain) <= TOLERANCE[self._plan.precision]:
                raise UnfusableError(f"the fused gradient differs from the plain one by {distance(fused, plain):.1%}")

    # ---- training

    def train(self, jobs: Sequence[Job]) -> Iterator[Trained]:
        """All jobs, in their order; those of one optimiser (and on a CPU of one group) together, wherever they stand.

        Raises:
            DataError: a job does not fit the layout, has a step without rows, or steps without rates.
        """
        if self._sequential is not None:
            return self._sequential.train(jobs)
        for job in jobs:
            check_job(job, self.layout)
        return self._train(jobs)

    def _train(self, jobs: Sequence[Job]) -> Iterator[Trained]:
        waiting: dict[tuple[int, LocalOptimizer, bool], list[int]] = {}
        for i, job in enumerate(jobs):
            waiting.setdefault(self._alike(job), []).append(i)
        done: dict[int, Trained] = {}
        for i, job in enumerate(jobs):
            if i not in done:
                mine = waiting[self._alike(job)]
                now, mine[:] = mine[: self._plan.lanes], mine[self._plan.lanes :]
                done |= zip(now, self._together([jobs[j] for j in now]), strict=True)
            yield done.pop(i)

    def _alike(self, job: Job) -> tuple[int, LocalOptimizer, bool]:
        """Equal for jobs that may train together."""
        # On a CPU a large batch is no faster than a small one, so that the runs can stay apart.
        group = job.group if self._device.type == "cpu" else 0
        return group, job.optimizer, job.dropout is None

    def _together(self, jobs: Sequence[Job]) -> list[Trained]:
        optimizer = jobs[0].optimizer
        # Clients with more steps first: those still at work are then a leading block of every matrix.
        order = sorted(range(len(jobs)), key=lambda i: (-len(jobs[i].rows), jobs[i].group, jobs[i].client, i))
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

    @guarded()
    def _gradients(self, jobs: Sequence[Job], step: int, lanes: Lanes) -> Float[np.ndarray, " k"]:
        """Fills ``lanes.gradient`` and returns each client's mean loss."""
        lanes.gradient.zero_()
        total = torch.zeros(len(jobs), device=self._device)
        rows = [job.rows[step] for job in jobs]
        self._network.fill(np.concatenate(rows), self._plan.workers)
        found = side_by_side(
            lambda now: self._parts(jobs, step, now, lanes), list(self._passes(rows)), self._plan.workers
        )
        for part, gradient, loss in chain.from_iterable(found):
            lanes.gradient[part.first : part.stop] += gradient
            total[part.first : part.stop] += loss
        return np.asarray(total.cpu().numpy())

    def _parts(
        self, jobs: Sequence[Job], step: int, now: PassRows, lanes: Lanes
    ) -> list[tuple[PassRows, Float32[torch.Tensor, "m d"], Float32[torch.Tensor, " m"]]]:
        """What one pass gives, lane by lane where it is not finite."""
        gradient, loss = self._backward(jobs, step, now, lanes)
        if self._network.lean and len(gradient) > 1 and not bool(torch.isfinite(gradient.sum())):
            # Rows of several clients share the products of the lean encoder, where 0 · ∞ reaches the others.
            return [(lane, *self._backward(jobs, step, lane, lanes)) for lane in now.lanes()]
        return [(now, gradient, loss)]

    def _backward(
        self, jobs: Sequence[Job], step: int, now: PassRows, lanes: Lanes
    ) -> tuple[Float32[torch.Tensor, "m d"], Float32[torch.Tensor, " m"]]:
        """The gradients of one pass and its part of each client's mean loss."""
        mine = jobs[now.first : now.stop]
        share = np.asarray([[1 / len(job.rows[step])] for job in mine], np.float32)
        weight = torch.from_numpy(now.valid * share).to(self._device)
        leaves = leaves_of(self.layout, lanes.x[now.first : now.stop], trained=True)
        seeds = pass_seeds(mine, step, now) if self._drops else None
        outputs, labels = self._network.outputs(now.rows, now.valid, leaves, seeds)
        if any(job.relabel is not None for job in mine):
            # of the whole batch, because what is done to a label may depend on its place
            changed = [trained_labels(j, j.rows[step], self.task)[i] for j, i in zip(mine, now.positions, strict=True)]
            labels = torch.from_numpy(np.concatenate(changed)).to(labels)
        with phase("forward"):
            losses = self.task.losses(outputs, labels).view(weight.shape) * weight
        with phase("backward"):
            found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
            flat = lanes.x.new_empty(len(mine), self.layout.size)
            for entry, part in zip(self.layout, found, strict=True):
                flat[:, entry.start : entry.stop] = 0 if part is None else part.reshape(len(mine), -1)
        return flat, losses.detach().sum(1)

    def _passes(self, lanes: Sequence[np.ndarray], longer: int = 1) -> Iterator[PassRows]:
        cut = packed_passes if self._network.lean else padded_passes
        tokens = longer * self._plan.micro_batch_tokens
        return passes_over(lanes, self._lengths, self._network.covers, lambda lengths: cut(lengths, tokens))

    # ---- evaluation

    def outputs(self, queries: Sequence[Query]) -> list[Float32[np.ndarray, "n classes"]]:
        """For each query the model's outputs on its rows, in their order, in float32."""
        if self._sequential is not None:
            return self._sequential.outputs(queries)
        for query in queries:
            check_vector(query.vector, self.layout)
        if self._device.type == "cpu":
            return [self._evaluate([query])[0] for query in queries]
        blocks = range(0, len(queries), self._plan.lanes)
        return [found for first in blocks for found in self._evaluate(queries[first : first + self._plan.lanes])]

    @guarded()
    def _evaluate(self, queries: Sequence[Query]) -> list[Float32[np.ndarray, "n classes"]]:
        found = [np.zeros((len(query.rows), self.task.classes), np.float32) for query in queries]
        x = torch.from_numpy(np.stack([query.vector for query in queries])).to(self._device)
        self._network.fill(np.concatenate([query.rows for query in queries]), self._plan.workers)

        def work(now: PassRows) -> None:
            with torch.no_grad():
                leaves = leaves_of(self.layout, x[now.first : now.stop], trained=False)
                outputs, _ = self._network.outputs(now.rows, now.valid, leaves)
            table = outputs.view(*now.rows.shape, -1).cpu().numpy()
            for i, lane in enumerate(range(now.first, now.stop)):
                found[lane][now.positions[i, now.valid[i]]] = table[i, now.valid[i]]

        # passes are longer where nothing is kept for a way back
        side_by_side(work, list(self._passes([query.rows for query in queries], 2)), self._plan.workers)
        return found

    def gradient(self, vector: Float32[np.ndarray, " d"], rows: np.ndarray) -> tuple[float, Float32[np.ndarray, " d"]]:
        """Mean loss over the rows and its gradient at ``vector``."""
        if self._sequential is not None:
            return self._sequential.gradient(vector, rows)
        check_vector(vector, self.layout)
        job = Job(0, vector, (rows,), np.ones(1), LocalOptimizer("sgd"))
        lanes = Lanes.of([job], job.optimizer, self._device)
        (loss,) = self._gradients([job], 0, lanes)
        return float(loss), lanes.gradient[0].cpu().numpy()

    def plan(self) -> Mapping[str, str]:
        """What was chosen for this machine, to be given as ``plan`` when a run is resumed."""
        return self._plan.mapping()
