"""Masks on random weights: what is drawn when, where gradients go, and rounds in which only bits travel."""

from dataclasses import dataclass, replace

import numpy as np
import pydantic
import pytest
import torch

from qfedfm.adapters.dropout import name_hash, row_seeds
from qfedfm.adapters.masks import Mask, mask_weights, uniform
from qfedfm.adapters.tensors import layout_of, load_vector, trainable, vector_of
from qfedfm.clients.dropout import step_seeds
from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import Job, LocalOptimizer, Query
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core import wire
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.engine.experiment import Experiment
from qfedfm.layers.bernoulli_mask import BernoulliMask
from qfedfm.tasks.digits import Digits
from qfedfm.tasks.masked import Masked
from qfedfm.tasks.protocol import Task
from tests.engine.test_rounds import play
from tests.engine.tiny import SETTINGS, TinyTask

KEY = Key.of(1)


@dataclass
class Wide(TinyTask):
    """Two layers, the first of them wide."""

    noise: float = 0.3

    def model(self, key: Key) -> torch.nn.Module:
        model = torch.nn.Sequential(torch.nn.Linear(4, 200), torch.nn.ReLU(), torch.nn.Linear(200, self.classes))
        generator = torch.Generator().manual_seed(key.integer())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.1, generator=generator)
        return model

    def forward(self, model, inputs):
        return model(inputs["input"])


def wide(**options):
    return Wide(**options)


MASKED = {
    "task": {"kind": "masked", "task": {"kind": "python", "factory": "tests.tasks.test_masked:wide"}, "gain": 1.4},
    "training": {"rate": 0.1, "steps": 10, "batch_size": 16, "optimizer": {"name": "adamw"}},
    "method": {"layers": ["bernoulli-mask"]},
}


@pytest.fixture
def task():
    return Masked(Wide(), seed=3)


def test_it_is_the_inner_task_with_other_parameters(task):
    inner = Wide()
    assert isinstance(task, Task)
    assert (task.name, task.classes) == ("masked-tiny", 3)
    assert [(*shape.shape,) for shape in layout_of(task.model(KEY))] == [(200, 4), (3, 200)]
    assert np.array_equal(task.split(KEY).tuning, inner.split(KEY).tuning)
    assert np.array_equal(task.labels(), inner.labels())


def test_the_key_draws_the_probabilities_and_nothing_else(task):
    one, other, same = (task.model(Key.of(seed)) for seed in (1, 2, 1))
    assert np.array_equal(vector_of(one), vector_of(same))
    assert not np.array_equal(vector_of(one), vector_of(other))
    frozen = [
        [tensor for name, tensor in [*model.named_parameters(), *model.named_buffers()] if name not in trainable(model)]
        for model in (one, other)
    ]
    assert len(frozen[0]) == 4  # signs and biases of two layers
    assert all(torch.equal(a, b) for a, b in zip(*frozen, strict=True))
    signs = Masked(Wide(), seed=4).model(KEY)[0].parametrizations["weight"][0].frozen
    assert not torch.equal(signs, one[0].parametrizations["weight"][0].frozen)


def test_first_probabilities_and_weights_are_those_of_the_docstring():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 5), torch.nn.Linear(90, 50))
    mask_weights(model, KEY, Key.of(7), gain=2**0.5, spread=1.0, evaluation="expected")
    theta = vector_of(model).astype(np.float64)
    scores = np.log(theta / (1 - theta))
    assert (abs(scores.mean()), scores.std()) == (pytest.approx(0, abs=0.04), pytest.approx(1, abs=0.03))
    for layer, inputs in ((model[0], 75), (model[1], 90)):
        frozen = layer.parametrizations.weight[0].frozen
        torch.nn.init.kaiming_normal_(
            reference := torch.empty(20000, inputs), generator=torch.Generator().manual_seed(0)
        )
        assert frozen.abs().unique().item() == pytest.approx(reference.std().item(), rel=0.01)
        assert abs(frozen.sign().mean()) < 5 / frozen.numel() ** 0.5
    mask_weights(plain := torch.nn.Linear(5, 5), KEY, KEY, gain=1.0, spread=0.0, evaluation="expected")
    assert (vector_of(plain) == 0.5).all()


def test_what_cannot_be_masked_is_refused():
    tied = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    for model in (tied, torch.nn.Embedding(3, 3), torch.nn.Linear(3, 3).requires_grad_(requires_grad=False)):
        with pytest.raises(ConfigError, match="masks on"):
            mask_weights(model, KEY, KEY, gain=1.0, spread=1.0, evaluation="expected")


def test_masks_are_drawn_in_training_by_the_steps_seed_alone():
    theta = torch.linspace(-0.2, 1.2, 1401)
    mask = Mask(torch.full((1401,), 2.0), "layer", "expected")
    assert torch.equal(mask(theta), 2 * theta.clamp(0, 1))
    drawn = []
    for step in range(2000):
        with row_seeds(step_seeds(KEY, step, 3)):
            drawn.append(mask(theta))
    with row_seeds(step_seeds(KEY, 0, 1)):
        assert torch.equal(mask(theta), drawn[0])  # however many rows there are
        assert not torch.equal(Mask(mask.frozen, "other", "expected")(theta), drawn[0])
    masks = torch.stack(drawn) / 2
    assert set(masks.unique().tolist()) == {0, 1}
    p = theta.clamp(0, 1)
    assert ((masks.mean(0) - p).abs() <= 5 * (p * (1 - p) / len(masks)).sqrt() + 1e-7).all()
    sampled = Mask(mask.frozen, "layer", "sampled")
    assert torch.equal(sampled(theta), sampled(theta))
    assert set(sampled(theta).unique().tolist()) == {0, 2}


def test_draws_are_uniform_and_independent():
    numbers = uniform(torch.tensor(5), name_hash("layer"), torch.Size((100, 1000))).double()
    assert (numbers.min() >= 0, numbers.max() < 1) == (True, True)
    counts = torch.histc(numbers, 100, 0, 1)
    assert ((counts - 1000) ** 2 / 1000).sum() < 150  # χ² with 99 degrees of freedom
    assert abs(np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]) < 0.01


def test_the_gradient_is_that_of_the_masked_weights_times_the_frozen_ones():
    torch.manual_seed(0)
    frozen, x = torch.randn(3, 4), torch.randn(6, 4)
    theta = torch.tensor(np.linspace(-0.5, 1.5, 12).reshape(3, 4), dtype=torch.float32, requires_grad=True)
    mask = Mask(frozen, "layer", "expected")
    with row_seeds(step_seeds(KEY, 0, 6)):
        weights = mask(theta)
    (torch.nn.functional.linear(x, weights) ** 2).sum().backward()
    by_hand = 2 * (x @ weights.detach().T).T @ x  # ∂/∂W of ‖x Wᵀ‖²
    torch.testing.assert_close(theta.grad, by_hand * frozen)


def test_a_round_by_hand(monkeypatch):
    """The new model is the weighted mean of the masks that the payloads hold."""
    masks, original = [], BernoulliMask.decode

    def decode(self, body, at):
        decoded = original(self, body, at)
        masks.append((at.samples, np.rint(decoded + at.model)))
        np.testing.assert_allclose(decoded + at.model, masks[-1][1], atol=1e-6)
        assert len(body) <= BernoulliMask().largest(at.layout)
        return decoded

    monkeypatch.setattr(BernoulliMask, "decode", decode)
    setting, states = play(2, **MASKED)
    clients = len(setting.split.clients)
    assert len(masks) == 2 * clients
    for number, state in enumerate(states[1:]):
        weights, drawn = zip(*masks[number * clients : (number + 1) * clients], strict=True)
        assert all(set(np.unique(mask)) == {0, 1} for mask in drawn)
        np.testing.assert_allclose(state.model, np.average(drawn, axis=0, weights=weights), atol=1e-6)
    bits = 8 * (states[1].history[1]["uplink_bytes"] / clients - wire.OVERHEAD - 3)
    assert bits <= setting.bound.layout.size == 1400


def test_clients_start_from_what_came_down(monkeypatch):
    """A chain's reconstruction is what masks are relative to, not the server's own model."""
    seen, original = [], BernoulliMask.encode
    monkeypatch.setattr(
        BernoulliMask, "encode", lambda self, x, at: (seen.append((at.round, at.model)), original(self, x, at))[1]
    )
    changed = {**MASKED, "method": {"layers": ["bernoulli-mask"], "down": {"name": "top-k", "fraction": 0.3}}}
    _, states = play(2, **changed)
    model = states[2].chain.model
    assert not np.array_equal(model, states[1].model)
    assert all(np.array_equal(start, model if number == 2 else states[0].model) for number, start in seen)


def test_masks_alone_are_learnt_and_stay_probabilities():
    setting, states = play(6, **MASKED)
    accuracy = [state.history[-1]["accuracy"] for state in states]
    assert accuracy[0] < 0.7
    assert accuracy[-1] > 0.9
    for state in states:
        assert state.model.min() >= -1e-6
        assert state.model.max() <= 1 + 1e-6
    again = play(6, **MASKED)[1][-1]
    assert np.array_equal(again.model, states[-1].model)
    assert setting.task.name == "masked-tiny"


def test_a_fused_engine_trains_one_client_after_the_other(caplog, task):
    fused = FusedEngine(task, KEY, device="cpu", precision="float32")
    assert "a mask is drawn for a client's step" in caplog.text
    assert fused.plan()["engine"] == "sequential"
    sequential = SequentialEngine(task, KEY)
    job = Job(0, fused.first, (np.arange(8), np.arange(8, 12)), np.full(2, 0.1), LocalOptimizer("sgd"), dropout=KEY)
    deltas = [next(iter(engine.train([job]))).delta for engine in (fused, sequential)]
    np.testing.assert_array_equal(*deltas)
    assert not np.array_equal(next(iter(sequential.train([replace(job, dropout=Key.of(9))]))).delta, deltas[0])


@pytest.mark.parametrize("evaluation", ["expected", "sampled"])
def test_the_network_that_is_saved_is_the_one_that_is_evaluated(evaluation, tmp_path):
    from transformers import ViTForImageClassification

    task = Masked(Digits(hidden=16, layers=1), evaluation=evaluation)
    engine, rows = SequentialEngine(task, KEY), np.arange(5)
    (outputs,) = engine.outputs([Query(engine.first, rows)])
    saved = ViTForImageClassification.from_pretrained(task.save_adapter(engine.first, tmp_path)).eval()
    with torch.no_grad():
        logits = saved(**task.collate(rows).inputs).logits
    np.testing.assert_allclose(logits, outputs, rtol=1e-5, atol=1e-6)
    inner = task.inner.model(KEY)
    load_vector(inner, task.weights(engine.first))
    np.testing.assert_allclose(task.forward(inner, task.collate(rows).inputs).detach(), outputs, rtol=1e-5, atol=1e-6)


def test_a_task_that_saves_nothing_still_does_not():
    class Unsaved(Wide):
        save_adapter = property()

    assert getattr(Masked(Unsaved()), "save_adapter", None) is None


def test_an_experiment_names_it():
    table = {"kind": "masked", "task": {"kind": "digits", "hidden": 16}, "spread": 0.5, "evaluation": "sampled"}
    experiment = Experiment.of({"task": table})
    assert experiment.build_task() == Masked(Digits(hidden=16), spread=0.5, evaluation="sampled")
    assert Experiment.of(experiment.settings) == experiment
    for wrong in ({"evaluation": "mean"}, {"spread": -1.0}, {"gain": 0.0}, {"task": {"kind": "masked"}}, {"start": 1}):
        with pytest.raises((ConfigError, pydantic.ValidationError)):
            Experiment.of({"task": {**table, **wrong}})
    assert Experiment.of({**SETTINGS, **MASKED}).build_task() == Masked(Wide(), gain=1.4)
