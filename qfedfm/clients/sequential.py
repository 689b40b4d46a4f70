"""The reference engine: one client after the other, plain autograd and ``torch.optim``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float32

from qfedfm.adapters.dropout import row_seeds
from qfedfm.adapters.tensors import gradient_of, layout_of, load_vector, trainable, vector_of
from qfedfm.clients.dropout import step_seeds
from qfedfm.clients.jobs import Job, LocalOptimizer, Query, Trained
from qfedfm.clients.optimiser import check_job
from qfedfm.clients.relabelling import trained_labels
from qfedfm.core.cohort import State
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.phases import phase
from qfedfm.tasks.protocol import Task

_MOMENTS = {"momentum": "momentum_buffer", "exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"}


class SequentialEngine:
    """Trains clients one by one in float32: what the fused engine is measured against.

    The gradient of a client's step is ∇ mean loss + μ (x − start) + correction, clipped, then given to ``torch.optim``.

    Args:
        task: model, data and loss; ``task.model`` must return a model that nobody else uses.
        key: draws the first values of the adapter.
        device: where the model runs.
        chunk: rows in one forward pass of `outputs` and `gradient`.
    """

    def __init__(self, task: Task, key: Key, device: str = "cpu", *, chunk: int = 64) -> None:
        self.task, self.device, self.chunk = task, torch.device(device), chunk
        self.model = task.model(key).eval().to(self.device)
        self.layout: Layout = layout_of(self.model)
        self.first: np.ndarray = vector_of(self.model)

    def train(self, jobs: Sequence[Job]) -> Iterator[Trained]:
        """All jobs, in their order, each when it is asked for.

        Raises:
            DataError: a job does not fit the layout, has a step without rows, or steps without rates.
        """
        for job in jobs:
            check_job(job, self.layout)
        return map(self._train, jobs)

    def _train(self, job: Job) -> Trained:
        optimizer = job.optimizer
        load_vector(self.model, job.start)
        parameters = list(trainable(self.model).values())
        sizes = [parameter.numel() for parameter in parameters]
        start = [parameter.detach().clone() for parameter in parameters]
        correction = None if job.correction is None else self._split(job.correction, parameters)
        stepper = self._optimizer(parameters, optimizer, job.state)
        losses = []
        for step, (rows, rate) in enumerate(zip(job.rows, job.rates, strict=True)):
            stepper.zero_grad()
            loss = self._loss(rows, job, step)
            with phase("backward"):
                loss.backward()  # type: ignore[no-untyped-call]
            for i, parameter in enumerate(parameters):
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                if job.proximal:
                    gradient = gradient + job.proximal * (parameter.detach() - start[i])
                parameter.grad = gradient if correction is None else gradient + correction[i]
            if optimizer.clipping_norm is not None:
                torch.nn.utils.clip_grad_norm_(parameters, optimizer.clipping_norm)
            stepper.param_groups[0]["lr"] = float(rate)
            stepper.step()
            losses.append(loss.item())
        delta = vector_of(self.model) - job.start
        return Trained(job.client, delta, np.asarray(losses), self._state(stepper, parameters, sizes, job.state))

    def _loss(self, rows: np.ndarray, job: Job, step: int) -> torch.Tensor:
        with phase("data"):
            batch = self.task.collate(rows)
        labels = batch.labels
        if job.relabel is not None:
            labels = torch.as_tensor(trained_labels(job, rows, self.task), dtype=labels.dtype)
        seeds = None if job.dropout is None else step_seeds(job.dropout, step, len(rows)).to(self.device)
        mask = batch.inputs.get("attention_mask")
        with phase("forward"), row_seeds(seeds, None if mask is None else mask.to(self.device)):
            outputs = self._forward(batch.inputs)
            return self.task.losses(outputs, labels.to(self.device)).mean()

    def _forward(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.task.forward(self.model, {name: tensor.to(self.device) for name, tensor in inputs.items()})

    def _split(self, vector: np.ndarray, parameters: list[torch.nn.Parameter]) -> list[torch.Tensor]:
        flat = torch.from_numpy(np.array(vector, np.float32)).to(self.device)
        parts = flat.split([parameter.numel() for parameter in parameters])  # type: ignore[no-untyped-call]
        return [part.view(parameter.shape) for part, parameter in zip(parts, parameters, strict=True)]

    def _optimizer(
        self, parameters: list[torch.nn.Parameter], optimizer: LocalOptimizer, state: State
    ) -> torch.optim.Optimizer:
        stepper: torch.optim.Optimizer
        if optimizer.name == "sgd":
            stepper = torch.optim.SGD(parameters, 1.0, optimizer.momentum, weight_decay=optimizer.weight_decay)
        else:
            stepper = torch.optim.AdamW(parameters, 1.0, optimizer.betas, optimizer.eps, optimizer.weight_decay)
        for name, torch_name in _MOMENTS.items():
            if name in state:
                for parameter, part in zip(parameters, self._split(state[name], parameters), strict=True):
                    stepper.state[parameter][torch_name] = part.clone()
                    if "step" in state:
                        stepper.state[parameter]["step"] = torch.tensor(float(state["step"]))
        return stepper

    def _state(
        self, stepper: torch.optim.Optimizer, parameters: list[torch.nn.Parameter], sizes: list[int], before: State
    ) -> State:
        """The optimiser's state as flat arrays; without a step it is what it was before."""
        found: dict[str, np.ndarray] = {}
        kept = [stepper.state[parameter] for parameter in parameters]
        for name, torch_name in _MOMENTS.items():
            tensors = [moments.get(torch_name) for moments in kept]
            present = [tensor.reshape(-1).cpu() for tensor in tensors if tensor is not None]
            if len(present) == len(sizes):
                found[name] = torch.cat(present).numpy()
        if "step" in kept[0]:
            found["step"] = np.asarray(int(kept[0]["step"].item()), np.int64)
        return found or before

    def outputs(self, queries: Sequence[Query]) -> list[Float32[np.ndarray, "n classes"]]:
        """For each query the model's outputs on its rows, in their order, in float32."""
        return [self._outputs(query.vector, query.rows) for query in queries]

    def _outputs(self, vector: Float32[np.ndarray, " d"], rows: np.ndarray) -> Float32[np.ndarray, "n classes"]:
        load_vector(self.model, vector)
        found = []
        with torch.no_grad():
            for first in range(0, len(rows), self.chunk):
                batch = self.task.collate(rows[first : first + self.chunk])
                found.append(self._forward(batch.inputs).float().cpu())
        return np.asarray(torch.cat(found).numpy()) if found else np.zeros((0, self.task.classes), np.float32)

    def gradient(self, vector: Float32[np.ndarray, " d"], rows: np.ndarray) -> tuple[float, Float32[np.ndarray, " d"]]:
        """Mean loss over the rows and its gradient at ``vector``."""
        load_vector(self.model, vector)
        self.model.zero_grad()
        total = 0.0
        for first in range(0, len(rows), self.chunk):
            batch = self.task.collate(rows[first : first + self.chunk])
            losses = self.task.losses(self._forward(batch.inputs), batch.labels.to(self.device))
            loss = losses.sum() / len(rows)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total, gradient_of(self.model)

    def plan(self) -> Mapping[str, str]:
        """Device and precision; nothing is probed."""
        return {"engine": "sequential", "device": str(self.device), "precision": "float32"}
