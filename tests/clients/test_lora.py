"""The batched low-rank sum against the sum written out, row by row."""

from __future__ import annotations

import pytest
import torch

from qfedfm.clients.lora import LowRank

ROWS, TOKENS, INNER, OUTER, RANK, SCALE = 3, 5, 7, 4, 2, 1.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_values_and_gradients_are_those_of_the_formula(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    shapes = [(ROWS, TOKENS, INNER), (ROWS, TOKENS, OUTER), (ROWS, RANK, INNER), (ROWS, OUTER, RANK)]
    x, base, a, b = (torch.randn(shape, generator=draw) for shape in shapes)
    given = [x.to(dtype).requires_grad_(), base.to(dtype).requires_grad_(), a.requires_grad_(), b.requires_grad_()]
    found = LowRank.apply(*given, SCALE)
    assert found.dtype == dtype
    expected = torch.stack(
        [base[i].to(dtype).float() + SCALE * x[i].to(dtype).float() @ (b[i] @ a[i]).T for i in range(ROWS)]
    )
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance)
    upstream = torch.randn(found.shape, generator=draw).to(dtype)
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    y = exact[1] + SCALE * exact[0] @ (exact[3] @ exact[2]).transpose(1, 2)
    wanted = torch.autograd.grad(y, exact, upstream.double())
    for mine, other in zip(torch.autograd.grad(found, given, upstream), wanted, strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=tolerance, atol=tolerance)
