"""The stacked optimisers against ``torch.optim`` on the same gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qfedfm.clients.jobs import Job, LocalOptimizer
from qfedfm.clients.optimiser import Lanes, step_

OPTIMIZERS = [
    LocalOptimizer("sgd"),
    LocalOptimizer("sgd", momentum=0.9, weight_decay=0.1),
    LocalOptimizer("sgd", momentum=0.5, clipping_norm=1.0),
    LocalOptimizer("adamw"),
    LocalOptimizer("adamw", betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3, clipping_norm=2.0),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_row_steps_as_torch_does(optimizer: LocalOptimizer) -> None:
    k, d, steps = 3, 40, 5
    rng = np.random.default_rng(0)
    starts = rng.normal(size=(k, d)).astype(np.float32)
    gradients = torch.from_numpy(rng.normal(size=(steps, k, d)).astype(np.float32))
    rates = rng.uniform(0.01, 0.3, (steps, k))
    lanes = Lanes.of([Job(i, start, (), np.zeros(0)) for i, start in enumerate(starts)], optimizer, torch.device("cpu"))
    for gradient, rate in zip(gradients, rates, strict=True):
        lanes.gradient.copy_(gradient)
        step_(lanes, rate, optimizer)
    for i, start in enumerate(starts):
        x = torch.nn.Parameter(torch.from_numpy(start.copy()))
        stepper: torch.optim.Optimizer
        if optimizer.name == "sgd":
            stepper = torch.optim.SGD([x], 1.0, optimizer.momentum, weight_decay=optimizer.weight_decay)
        else:
            stepper = torch.optim.AdamW([x], 1.0, optimizer.betas, optimizer.eps, optimizer.weight_decay)
        for gradient, rate in zip(gradients[:, i], rates[:, i], strict=True):
            x.grad = gradient.clone()
            if optimizer.clipping_norm is not None:
                torch.nn.utils.clip_grad_norm_([x], optimizer.clipping_norm)
            stepper.param_groups[0]["lr"] = float(rate)
            stepper.step()
        torch.testing.assert_close(lanes.x[i], x.detach(), rtol=1e-5, atol=1e-6)


def test_proximal_and_correction_are_added_before_clipping() -> None:
    start, correction = np.zeros(2, np.float32), np.asarray([3.0, 0.0], np.float32)
    optimizer = LocalOptimizer("sgd", clipping_norm=1.0)
    job = Job(0, start, (), np.zeros(0), proximal=2.0, correction=correction)
    lanes = Lanes.of([job], optimizer, torch.device("cpu"))
    lanes.x.copy_(torch.tensor([[0.0, 2.0]]))
    step_(lanes, np.ones(1), optimizer)
    # g = (0, 0) + 2·(0, 2) + (3, 0) = (3, 4), of norm 5, clipped to (0.6, 0.8).
    torch.testing.assert_close(lanes.x, torch.tensor([[-0.6, 1.2]]), rtol=0, atol=1e-6)
