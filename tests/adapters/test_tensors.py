from __future__ import annotations

import numpy as np
import pytest
import torch

from qfedfm.adapters.tensors import gradient_of, layout_of, load_vector, vector_of
from qfedfm.core.errors import DataError


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    made = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    made[0].bias.requires_grad_(False)
    return made


def test_vector_follows_named_parameters() -> None:
    made = model()
    assert [(entry.name, entry.shape) for entry in layout_of(made)] == [
        ("0.weight", (4, 3)), ("1.weight", (2, 4)), ("1.bias", (2,)),
    ]  # fmt: skip
    tensors = {name: p.detach().numpy() for name, p in made.named_parameters() if p.requires_grad}
    assert np.array_equal(vector_of(made), layout_of(made).pack(tensors))


def test_load_is_the_inverse_and_copies() -> None:
    made = model()
    vector = np.arange(22, dtype=np.float32)
    vector.setflags(write=False)
    load_vector(made, vector)
    assert np.array_equal(vector_of(made), vector)
    with torch.no_grad():
        made[1].bias.zero_()
    assert vector[-1] == 21


def test_gradient_is_zero_where_there_is_none() -> None:
    made = model()
    made[1].bias.sum().backward()
    assert gradient_of(made).tolist() == [0.0] * 20 + [1.0] * 2


def test_wrong_length_is_refused() -> None:
    with pytest.raises(DataError, match="22"):
        load_vector(model(), np.zeros(21, np.float32))
