"""The written-out encoder against the modules of transformers with autograd."""

from __future__ import annotations

import copy
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftConfig

from qfedfm.adapters.keyed import key_dropout
from qfedfm.adapters.peft import Adapter
from qfedfm.adapters.tensors import layout_of, trainable
from qfedfm.clients import lean
from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import Job, LocalOptimizer, Query
from qfedfm.clients.network import Network
from qfedfm.clients.plan import Plan
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core.key import Key
from qfedfm.tasks.protocol import Batch
from tests.clients.tiny import CLASSES, HIDDEN, TinyTask, bert, roberta

KEY = Key.of(0)
SIX = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
FAMILIES = {"bert": bert, "roberta": roberta}
PLAN = Plan("fused", "cpu", "float32", "default", "lean", 1024, 4, 0)


def lora(targets: list[str], **options: object) -> PeftConfig:
    kept = {"modules_to_save": ["classifier"], "task_type": "SEQ_CLS", "r": 3, "lora_alpha": 6} | options
    return LoraConfig(target_modules=targets, **kept)


class Double(TinyTask):
    """In float64, so that nothing hides behind rounding."""

    def model(self, key: Key) -> torch.nn.Module:
        return super().model(key).double()


class MeanPooled(torch.nn.Module):
    """A head that reads the mean of all tokens."""

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self.body, self.classifier = body, torch.nn.Linear(HIDDEN, CLASSES)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = (attention_mask / attention_mask.sum(1, keepdim=True)).unsqueeze(2).to(states.dtype)
        return self.classifier((states * weights).sum(1).to(self.classifier.weight.dtype))


class Pooled(TinyTask):
    def forward(self, model: torch.nn.Module, inputs: object) -> torch.Tensor:
        return model(**inputs)


class Keyed(Pooled):
    """With dropout by keys, as the adapters of the library have it."""

    def model(self, key: Key) -> torch.nn.Module:
        model = super().model(key)
        key_dropout(model)
        return model


def mean_pooled(family: str) -> torch.nn.Module:
    return MeanPooled(FAMILIES[family](2).base_model)


CASES = {
    **{f"{family}, {target}": (family, lora([target])) for family in FAMILIES for target in SIX},
    **{f"{family}, all": (family, lora(SIX)) for family in FAMILIES},
    "bert, ranks by module": (
        "bert",
        lora(SIX, rank_pattern={"query": 1, "intermediate.dense": 5}, alpha_pattern={"value": 9}),
    ),
    "bert, last layer": ("bert", lora(["query", "output.dense"], layers_to_transform=[1])),
    "bert, rank-stabilised": ("bert", lora(["key", "value"], use_rslora=True)),
}
RAGGED = [np.array([4, 9, 9, 30]), np.array([7]), np.array([0, 1, 2, 3, 4, 5, 6]), np.array([11, 12])]


def task_of(name: str, pooled: str, base: type[TinyTask] = TinyTask) -> TinyTask:
    family, adapter = CASES[name]
    if pooled == "first":
        return base(lambda: FAMILIES[family](2), adapter)
    adapter = copy.deepcopy(adapter)
    adapter.task_type = None

    class Both(Pooled, base):
        pass

    return Both(lambda: mean_pooled(family), adapter)


def plain(task: TinyTask, model: torch.nn.Module, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs of the unchanged modules, and the gradient of the summed losses."""
    model.zero_grad()
    batch = task.collate(rows)
    outputs = task.forward(model, batch.inputs)
    task.losses(outputs, batch.labels).sum().backward()
    return outputs.detach(), torch.cat([p.grad.reshape(-1) for p in trainable(model).values()])


@pytest.mark.parametrize("pooled", ["first", "mean"])
@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_those_of_the_modules(name: str, pooled: str) -> None:
    """In float64, four lanes with ragged rows; results leave the encoder in float32, hence the tolerance."""
    task = task_of(name, pooled, Double)
    layout, model = layout_of(task.model(KEY)), task.model(KEY)
    network = Network(task, task.model(KEY), PLAN, np.arange(3))
    assert network.lean
    assert network._encoder.first_only == (pooled == "first")
    draw = torch.Generator().manual_seed(0)
    x = torch.cat([p.detach().reshape(-1) for p in trainable(model).values()])
    x = x + 0.1 * torch.randn(len(RAGGED), layout.size, dtype=torch.float64, generator=draw)
    leaves = {e.name: x[:, e.start : e.stop].view(len(x), *e.shape).requires_grad_() for e in layout}
    width = max(len(rows) for rows in RAGGED)
    valid = np.stack([np.arange(width) < len(rows) for rows in RAGGED])
    padded = np.stack([np.pad(rows, (0, width - len(rows))) for rows in RAGGED])
    outputs, labels = network.outputs(padded, valid, leaves)
    wanted = torch.from_numpy(valid.reshape(-1))
    losses = task.losses(outputs[wanted], labels[wanted])
    gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
    found = torch.cat([part.reshape(len(x), -1) for part in gradients], 1)
    lanes = torch.from_numpy(np.repeat(np.arange(len(RAGGED)), [len(rows) for rows in RAGGED]))
    for lane, rows in enumerate(RAGGED):
        for entry, parameter in zip(layout, trainable(model).values(), strict=True):
            parameter.data = leaves[entry.name][lane].detach().clone()
        expected, gradient = plain(task, model, rows)
        torch.testing.assert_close(outputs[wanted][lanes == lane].double(), expected, rtol=1e-6, atol=1e-6)
        for entry in layout:
            part, other = found[lane, entry.start : entry.stop], gradient[entry.start : entry.stop]
            # a constant added to all keys changes nothing, so that some gradients are 0 but for rounding
            scale = max(float(other.norm()), 1e-6 * float(gradient.norm()))
            assert float((part - other).norm()) <= 2e-6 * scale + 1e-12, entry.name


@pytest.mark.parametrize("pooled", ["first", "mean"])
@pytest.mark.parametrize("name", ["bert, all", "roberta, all", "bert, last layer"])
def test_bfloat16_points_the_same_way(name: str, pooled: str) -> None:
    task = task_of(name, pooled)
    lowered = FusedEngine(task, KEY, device="cpu", precision="bfloat16")
    assert (lowered.plan()["engine"], lowered.plan()["encoder"]) == ("fused", "lean")
    model = task.model(KEY)
    rows = np.arange(24)
    _, expected = plain(task, model, rows)
    _, found = lowered.gradient(lowered.first, rows)
    cosine = found @ expected.numpy() / np.linalg.norm(found) / float(expected.norm())
    assert cosine >= 0.999


def jobs(engine: FusedEngine | SequentialEngine) -> list[Job]:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(3, engine.layout.size)).astype(np.float32)
    sizes = [(3, 5), (1,), (6, 2)]
    return [
        Job(
            client,
            engine.first + 0.05 * noise[client],
            tuple(rng.integers(0, 60, size) for size in sizes[client]),
            np.full(len(sizes[client]), 0.05),
            LocalOptimizer("sgd"),
        )
        for client in range(3)
    ]


@pytest.mark.parametrize("pooled", ["first", "mean"])
@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_by_keys(family: str, pooled: str) -> None:
    """The same masks as the modules' whatever the packing; they change what comes out."""
    options = {"r": 3, "lora_dropout": 0.3, "target_modules": SIX}
    task: TinyTask = TinyTask(lambda: FAMILIES[family](2), Adapter(options=options))
    if pooled == "mean":
        task = Keyed(lambda: mean_pooled(family), LoraConfig(modules_to_save=["classifier"], **options))
    lean, reference = FusedEngine(task, KEY, device="cpu", precision="float32"), SequentialEngine(task, KEY)
    assert (lean.plan()["engine"], lean.plan()["encoder"]) == ("fused", "lean")
    given = [replace(job, dropout=KEY.fold(job.client)) for job in jobs(reference)]
    for mine, other, kept in zip(lean.train(given), reference.train(given), lean.train(jobs(lean)), strict=True):
        assert np.linalg.norm(mine.delta - other.delta) <= 1e-4 * np.linalg.norm(other.delta)
        assert np.linalg.norm(mine.delta - kept.delta) > 1e-2 * np.linalg.norm(other.delta)


def test_layers_keep_what_they_need_for_a_way_back_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FusedEngine(task_of("bert, all", "first"), KEY, device="cpu", precision="float32")
    backs: list[weakref.ref] = []
    kept: list[int] = []
    plain_layer = lean._layer

    def watched(*given: object) -> object:
        kept.append(sum(back() is not None for back in backs))
        found = plain_layer(*given)
        backs.append(weakref.ref(found[1]))
        return found

    monkeypatch.setattr(lean, "_layer", watched)
    engine.outputs([Query(engine.first, np.arange(4))])
    assert set(kept) == {0}
    engine.gradient(engine.first, np.arange(4))
    assert max(kept) == 1


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, 1e30, 3e38])
@pytest.mark.parametrize("pooled", ["first", "mean"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_diverged_client_harms_no_other(broken: float, pooled: str, precision: str) -> None:
    task = task_of("bert, all", pooled)
    engine = FusedEngine(task, KEY, device="cpu", precision=precision)
    assert engine.plan()["encoder"] == "lean"
    healthy = jobs(engine)
    tolerance = 1e-4 if precision == "float32" else 2e-2
    # beside itself whole, and in a single number of one matrix
    whole = np.full(engine.layout.size, broken, np.float32)
    single = engine.first.copy()
    single[engine.layout.size // 2] = broken
    for start in (whole, single):
        beside = list(engine.train([healthy[0], replace(healthy[1], start=start), healthy[2]]))
        for i in (0, 2):
            (alone,) = engine.train([healthy[i]])
            assert np.linalg.norm(beside[i].delta - alone.delta) <= tolerance * np.linalg.norm(alone.delta)
            np.testing.assert_allclose(beside[i].losses, alone.losses, rtol=tolerance)


def test_rows_with_gaps_and_padding_on_either_side() -> None:
    """Where the mask has holes or begins late, the lean encoder sees the same tokens as the modules."""

    class Gaps(TinyTask):
        def collate(self, rows: np.ndarray) -> Batch:
            batch = super().collate(rows)
            mask = batch.inputs["attention_mask"]
            mask[:, 1] = 0
            return Batch(batch.inputs, batch.labels)

        def lengths(self) -> np.ndarray:
            return super().lengths() - 1

    task = Gaps(lambda: bert(2), lora(SIX))
    lean, reference = FusedEngine(task, KEY, device="cpu", precision="float32"), SequentialEngine(task, KEY)
    assert (lean.plan()["engine"], lean.plan()["encoder"]) == ("fused", "lean")
    for mine, other in zip(lean.train(jobs(lean)), reference.train(jobs(lean)), strict=True):
        assert np.linalg.norm(mine.delta - other.delta) <= 1e-4 * np.linalg.norm(other.delta)
    query = Query(lean.first, np.arange(60))
    np.testing.assert_allclose(lean.outputs([query])[0], reference.outputs([query])[0], atol=1e-4)
