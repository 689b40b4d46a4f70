"""Compressed base weights: a small model against torch's SVD, and the packaged MiniLM."""

import numpy as np
import pytest
import torch

from qfedfm.adapters.compression import compress_weights
from qfedfm.adapters.models import load_classifier
from qfedfm.core.errors import ConfigError


class Two(torch.nn.Module):
    """A linear layer of rank 2, and one of full rank."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.low, self.full = torch.nn.Linear(12, 20), torch.nn.Linear(20, 20)
        self.table = torch.nn.Embedding(5, 12)
        with torch.no_grad():
            factors = torch.randn(20, 2, generator=generator), torch.randn(2, 12, generator=generator)
            self.low.weight.copy_(factors[0] @ factors[1])
            self.full.weight.copy_(torch.randn(20, 20, generator=generator))


def test_a_layer_of_low_rank_is_stored_as_its_factors():
    model = Two()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    found = compress_weights(model, error=1e-4, targets=["low"])
    folding, train = found.trains["low.weight"]
    assert train.ranks == (2,)
    assert (found.stored, found.numbers) == (2 * (12 + 20), 12 * 20)
    np.testing.assert_allclose(folding.unfold(train.dense()), model.low.weight.detach().ravel(), atol=1e-6)
    for name, value in model.named_parameters():
        assert torch.allclose(value, before[name], atol=1e-5)
        assert value.requires_grad


def test_a_layer_of_full_rank_is_torchs_truncated_svd_or_stays():
    model = Two()
    u, s, v = torch.linalg.svd(model.full.weight.detach().double(), full_matrices=False)
    found = compress_weights(model, ratio=0.5, targets=["full"])
    assert found.stored == 5 * 40
    torch.testing.assert_close(model.full.weight.detach().double(), (u[:, :5] * s[:5]) @ v[:5], atol=1e-5, rtol=0)
    assert found.error == pytest.approx(float(torch.linalg.norm(s[5:]) / torch.linalg.norm(s)), rel=1e-6)
    assert found.errors == {"full.weight": pytest.approx(found.error)}
    model = Two()
    before = model.full.weight.detach().clone()
    found = compress_weights(model, error=1e-3, targets=["full"])
    assert torch.equal(model.full.weight, before)
    assert (dict(found.trains), found.stored, found.error) == ({}, 400, 0.0)


def test_all_linear_layers_and_nothing_else_by_default():
    model = Two()
    table, bias = model.table.weight.detach().clone(), model.low.bias.detach().clone()
    found = compress_weights(model, ratio=0.4, factors=2)
    assert set(found.errors) == {"low.weight", "full.weight"}
    assert found.stored <= 0.4 * found.numbers
    assert torch.equal(model.table.weight, table)
    assert torch.equal(model.low.bias, bias)


def test_zero_weights_need_nothing():
    model = torch.nn.Sequential(torch.nn.Linear(6, 6))
    torch.nn.init.zeros_(model[0].weight)
    found = compress_weights(model, error=0.1)
    assert (found.stored, found.error) == (0, 0.0)
    assert not model[0].weight.any()


@pytest.mark.parametrize("given", [{}, {"error": 0.1, "ratio": 0.5}, {"error": 0.0}, {"ratio": 1.5}])
def test_one_knob_between_zero_and_one(given):
    with pytest.raises(ConfigError, match="one of the two, between 0 and 1"):
        compress_weights(Two(), **given)


def test_a_target_that_is_no_linear_layer_is_said():
    with pytest.raises(ConfigError, match="did you mean 'full'"):
        compress_weights(Two(), ratio=0.5, targets=["ful"])


def test_minilm_at_equal_numbers():
    """Real weights have no structure that folding finds: the truncated SVD is nearer for as many numbers."""
    found = {}
    for name, factors, order in (("svd", 1, "plain"), ("plain", 2, "plain"), ("paired", 2, "paired")):
        model, _ = load_classifier("minilm", 3)
        before = {key: value.detach().clone() for key, value in model.named_parameters()}
        targets = ["attention.self.query", "attention.self.value"]
        found[name] = compress_weights(model, ratio=0.3, targets=targets, factors=factors, order=order)
        changed = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
        assert changed == set(found[name].trains)
        assert len(changed) == 12
        for key in changed:
            after = dict(model.named_parameters())[key].detach()
            off = torch.linalg.norm(after - before[key]) / torch.linalg.norm(before[key])
            assert float(off) == pytest.approx(found[name].errors[key], rel=1e-4)
    assert {one.numbers for one in found.values()} == {12 * 384 * 384}
    assert all(0.29 < one.stored / one.numbers <= 0.3 for one in found.values())
    assert 0.3 < found["svd"].error < found["plain"].error < found["paired"].error < 0.9
