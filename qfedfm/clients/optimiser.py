"""SGD and AdamW on one row a client: the same operations in the same order as ``torch.optim``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64

from qfedfm.clients.jobs import Job, LocalOptimizer
from qfedfm.core.cohort import State
from qfedfm.core.errors import DataError
from qfedfm.core.layout import Layout

Matrix = Float32[torch.Tensor, "k d"]
MOMENTS: Mapping[str, tuple[str, ...]] = {"sgd": ("momentum",), "adamw": ("exp_avg", "exp_avg_sq")}


def check_vector(vector: np.ndarray, layout: Layout) -> None:
    """Refuses a vector that is not of the layout.

    Raises:
        DataError: it has another length.
    """
    if vector.shape != (layout.size,):
        raise DataError(f"a vector of shape {vector.shape}", f"({layout.size},), the model's trainable parameters")


def check_job(job: Job, layout: Layout) -> None:
    """Refuses a job that an engine cannot run.

    Raises:
        DataError: a vector has another length than the layout, a step has no rows, or steps and rates differ in number.
    """
    vectors = {"start": job.start, "correction": job.correction}
    vectors |= {f"state {name!r}": array for name, array in job.state.items() if name != "step"}
    for name, vector in vectors.items():
        if vector is not None and vector.shape != (layout.size,):
            raise DataError(f"{name} of client {job.client} of shape {vector.shape}", f"({layout.size},)")
    if len(job.rows) != len(job.rates):
        raise DataError(
            f"{len(job.rows)} batches and {len(job.rates)} rates for client {job.client}", "as many of each"
        )
    if any(len(rows) == 0 for rows in job.rows):
        raise DataError(f"a step without rows for client {job.client}", "at least one row in each batch")


@dataclass(frozen=True)
class Lanes:
    """The parameters, gradients and optimiser state of k clients, one row each; the tensors are updated in place.

    Args:
        x: parameters, k × d.
        gradient: of the mean loss of each client's batch, k × d.
        start: where each client began, k × d.
        proximal: μ of each client, k × 1, or None if all are 0.
        correction: constant added to the gradient, k × d, or None if there is none.
        moments: the optimiser's running averages by name, each k × d.
        steps: how often each client's optimiser has stepped, k.
    """

    x: Matrix
    gradient: Matrix
    start: Matrix
    proximal: Float32[torch.Tensor, "k 1"] | None
    correction: Matrix | None
    moments: Mapping[str, Matrix]
    steps: Float64[np.ndarray, " k"]

    @classmethod
    def of(cls, jobs: Sequence[Job], optimizer: LocalOptimizer, device: torch.device) -> Lanes:
        """The lanes of jobs before their first step, moments from ``job.state`` where it has them, else zero."""
        size = len(jobs[0].start)
        start = torch.from_numpy(np.stack([job.start for job in jobs]).astype(np.float32)).to(device)
        proximal = torch.tensor([[job.proximal] for job in jobs], dtype=torch.float32, device=device)
        zero = np.zeros(size, np.float32)
        correction = None
        if any(job.correction is not None for job in jobs):
            rows = [zero if job.correction is None else job.correction for job in jobs]
            correction = torch.from_numpy(np.stack(rows)).to(device)
        names = MOMENTS[optimizer.name] if optimizer.name == "adamw" or optimizer.momentum else ()
        moments = {name: torch.from_numpy(np.stack([job.state.get(name, zero) for job in jobs])) for name in names}
        return cls(
            x=start.clone(),
            gradient=torch.zeros_like(start),
            start=start,
            proximal=proximal if bool(proximal.any()) else None,
            correction=correction,
            moments={name: moment.to(device) for name, moment in moments.items()},
            steps=np.asarray([float(job.state.get("step", np.zeros(()))) for job in jobs]),
        )

    def first(self, count: int) -> Lanes:
        """The first ``count`` clients; the tensors are views."""
        if count == len(self.x):
            return self
        return Lanes(
            self.x[:count],
            self.gradient[:count],
            self.start[:count],
            None if self.proximal is None else self.proximal[:count],
            None if self.correction is None else self.correction[:count],
            {name: moment[:count] for name, moment in self.moments.items()},
            self.steps[:count],
        )

    def state(self, row: int, optimizer: LocalOptimizer) -> State:
        """The optimiser state of one client as numpy arrays, for ``Trained.state``."""
        found = {name: moment[row].cpu().numpy().copy() for name, moment in self.moments.items()}
        if optimizer.name == "adamw":
            found["step"] = np.asarray(int(self.steps[row]), np.int64)
        return found


def step_(lanes: Lanes, rates: Float64[np.ndarray, " k"], optimizer: LocalOptimizer) -> None:
    """One step of every client, in place.

    g ← ∇loss + μ (x − start) + correction, then g ← g · min(1, c / (‖g‖ + 10⁻⁶)) as ``clip_grad_norm_`` does, then the
    optimiser.

    Args:
        lanes: parameters and gradients; ``lanes.gradient`` is overwritten.
        rates: learning rate of each client.
        optimizer: which rule, and its constants.
    """
    g = lanes.gradient
    if lanes.proximal is not None:
        g.add_(lanes.proximal * (lanes.x - lanes.start))
    if lanes.correction is not None:
        g.add_(lanes.correction)
    if optimizer.clipping_norm is not None:
        norms = torch.linalg.vector_norm(g, dim=1, keepdim=True)
        g.mul_((optimizer.clipping_norm / (norms + 1e-6)).clamp(max=1.0))
    lanes.steps[:] += 1
    if optimizer.name == "sgd":
        _sgd_(lanes, rates, optimizer)
    else:
        _adamw_(lanes, rates, optimizer)


def _column(values: Float64[np.ndarray, " k"], like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32)[:, None]).to(like.device)


def _sgd_(lanes: Lanes, rates: Float64[np.ndarray, " k"], optimizer: LocalOptimizer) -> None:
    g = lanes.gradient
    if optimizer.weight_decay:
        g.add_(lanes.x, alpha=optimizer.weight_decay)
    if optimizer.momentum:
        g = lanes.moments["momentum"].mul_(optimizer.momentum).add_(g)
    lanes.x.addcmul_(g, _column(-rates, g))


def _adamw_(lanes: Lanes, rates: Float64[np.ndarray, " k"], optimizer: LocalOptimizer) -> None:
    g, (beta1, beta2) = lanes.gradient, optimizer.betas
    if optimizer.weight_decay:
        lanes.x.mul_(_column(1 - rates * optimizer.weight_decay, g))
    m = lanes.moments["exp_avg"].lerp_(g, 1 - beta1)
    v = lanes.moments["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
    denominator = (v.sqrt() / _column(np.sqrt(1 - beta2**lanes.steps), g)).add_(optimizer.eps)
    lanes.x.addcdiv_(m * _column(-rates / (1 - beta1**lanes.steps), g), denominator)
