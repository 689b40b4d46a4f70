"""Modules over lanes: one vmap or one lane after the other, and what is seen of the batch."""

from __future__ import annotations

import pytest
import torch

from qfedfm.adapters.dropout import KeyedDropout, row_seeds
from qfedfm.clients import mapped
from qfedfm.clients.mapped import mapped_forward
from qfedfm.clients.stacking import LaneParameters
from qfedfm.clients.trace import UnfusableError

LANES, ROWS, WIDTH = 3, 2, 4


class Scaled(torch.nn.Module):
    """y = drop(x) (c + D(v)), where D writes v into a constant if it is told to."""

    def __init__(self, *, writes: bool) -> None:
        super().__init__()
        self.v, self.drop, self.writes = torch.nn.Parameter(torch.ones(WIDTH)), KeyedDropout(0.5, "drop"), writes

    def forward(self, x: torch.Tensor, constant: float = 1.0, *, bias: torch.Tensor | None = None) -> torch.Tensor:
        if self.writes:
            matrix = torch.zeros(WIDTH, WIDTH)
            matrix[range(WIDTH), range(WIDTH)] = self.v
        else:
            matrix = torch.diag(self.v)
        y = self.drop(x) @ (constant * torch.eye(WIDTH) + matrix)
        return y if bias is None else y + bias


def lanes(module: torch.nn.Module) -> tuple[LaneParameters, dict[str, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    current = LaneParameters()
    module.forward = mapped_forward(module, {name: name for name, _ in module.named_parameters()}, current)
    return current, {
        name: torch.randn(LANES, *p.shape, generator=draw).requires_grad_() for name, p in module.named_parameters()
    }


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("writes", [False, True])
def test_each_lane_has_its_own_parameters_rows_and_masks(writes: bool, dropped: bool) -> None:
    module, plain = Scaled(writes=writes), Scaled(writes=False)
    current, tensors = lanes(module)
    draw = torch.Generator().manual_seed(1)
    x, bias = torch.randn(LANES * ROWS, 5, WIDTH, generator=draw), torch.randn(LANES * ROWS, 1, WIDTH, generator=draw)
    seeds = torch.arange(LANES * ROWS) if dropped else None
    with current.use(tensors, LANES * ROWS), row_seeds(seeds):
        found = module(x, 2.0, bias=bias)
    for lane in range(LANES):
        own = slice(lane * ROWS, lane * ROWS + ROWS)
        plain.v.data = tensors["v"][lane].detach()
        with row_seeds(None if seeds is None else seeds[own]):
            torch.testing.assert_close(found[own], plain(x[own], 2.0, bias=bias[own]))
    (gradient,) = torch.autograd.grad(found[:ROWS].sum(), tensors["v"])
    assert gradient[0].any()
    assert not gradient[1:].any()
    assert torch.equal(module(x), plain_forward(module, x))


def plain_forward(module: Scaled, x: torch.Tensor) -> torch.Tensor:
    return x @ (torch.eye(WIDTH) + torch.diag(module.v))


def test_only_what_vmap_refuses_is_looped(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(mapped, "_loop", lambda *given, loop=mapped._loop: (calls.append(1), loop(*given))[1])
    for writes in (False, True):
        module = Scaled(writes=writes)
        current, tensors = lanes(module)
        with current.use(tensors, LANES):
            for _ in range(2):
                module(torch.ones(LANES, 1, WIDTH))
        assert len(calls) == (2 if writes else 0)


def test_what_no_row_goes_into_is_repeated_for_the_rows() -> None:
    module = torch.nn.Embedding(6, WIDTH)
    current, tensors = lanes(module)
    with current.use(tensors, LANES * ROWS):
        found = module(torch.arange(4).unsqueeze(0))
    expected = tensors["weight"][:, :4].repeat_interleave(ROWS, 0)
    assert torch.equal(found, expected)


def test_a_module_that_returns_more_than_a_tensor_is_refused() -> None:
    class Pair(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return super().forward(x), x

    module = Pair(WIDTH, WIDTH)
    current, tensors = lanes(module)
    with current.use(tensors, LANES), pytest.raises(UnfusableError, match="Pair returns tuple"):
        module(torch.ones(LANES, WIDTH))


def test_running_out_of_memory_is_not_taken_for_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Scaled(writes=False)
    current, tensors = lanes(module)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(mapped, "_map", full)
    with current.use(tensors, LANES), pytest.raises(torch.OutOfMemoryError):
        module(torch.ones(LANES, 1, WIDTH))
