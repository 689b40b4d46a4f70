"""The fused engine against the sequential one, and the sequential one against plain torch."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from qfedfm.adapters.tensors import load_vector
from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import ClientEngine, Job, LocalOptimizer, Query, Trained
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core.errors import ConfigError, DataError
from qfedfm.core.key import Key
from qfedfm.tasks.protocol import Batch
from tests.clients.tiny import ADAPTERS, CLASSES, KEEPS_PREFIX, TinyTask, bert, bert_lora, llama_lora, lora

KEY = Key.of(0)
SGD = LocalOptimizer("sgd", momentum=0.9, weight_decay=0.01)
ADAMW = LocalOptimizer("adamw", weight_decay=0.1, eps=1e-4)
"""A larger eps than the default: where a gradient is rounding noise, AdamW's step would be noise as well."""


@cache
def engines(name: str = "bert, LoRA") -> tuple[SequentialEngine, FusedEngine]:
    task = ADAPTERS[name]()
    return SequentialEngine(task, KEY), fused(task)


def fused(task: TinyTask, **options: object) -> FusedEngine:
    return FusedEngine(task, KEY, device="cpu", **{"precision": "float32", "micro_batch_tokens": 60} | options)


def ragged(engine: SequentialEngine | FusedEngine, seed: int = 0, steps: tuple[int, ...] = (3, 1, 2)) -> list[Job]:
    """Jobs of different starts, steps, batch sizes and rates."""
    rng = np.random.default_rng(seed)
    return [
        Job(
            client=client,
            start=(engine.first + 0.1 * rng.normal(size=engine.layout.size)).astype(np.float32),
            rows=tuple(rng.integers(0, 60, rng.integers(1, 7)) for _ in range(count)),
            rates=rng.uniform(0.01, 0.05, count),
        )
        for client, count in enumerate(steps)
    ]


def train(engine: ClientEngine, jobs: list[Job], optimizer: LocalOptimizer) -> list[Trained]:
    return list(engine.train([replace(job, optimizer=optimizer) for job in jobs]))


def outputs(engine: ClientEngine, vector: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return engine.outputs([Query(vector, rows)])[0]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def assert_same(found: list[Trained], expected: list[Trained], tolerance: float = 1e-4) -> None:
    for mine, other in zip(found, expected, strict=True):
        assert mine.client == other.client
        assert np.linalg.norm(other.delta) > 0
        assert np.linalg.norm(mine.delta - other.delta) <= tolerance * np.linalg.norm(other.delta)
        np.testing.assert_allclose(mine.losses, other.losses, rtol=tolerance)
        assert mine.state.keys() == other.state.keys()
        for name in other.state:
            scale = np.abs(other.state[name]).max()
            np.testing.assert_allclose(mine.state[name], other.state[name], atol=tolerance * scale)


@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=["sgd", "adamw"])
@pytest.mark.parametrize("name", ADAPTERS)
def test_fused_equals_sequential(name: str, optimizer: LocalOptimizer) -> None:
    sequential, together = engines(name)
    assert together.plan()["engine"] == "fused"
    assert together.plan()["prefix"] == ("kept" if name in KEEPS_PREFIX else "computed")
    jobs = ragged(sequential)
    assert_same(train(together, jobs, optimizer), train(sequential, jobs, optimizer))


@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=["sgd", "adamw"])
@pytest.mark.parametrize(
    "change",
    [
        {"proximal": 0.5},
        {"correction": True},
        {"relabel": lambda labels: (labels + 1) % CLASSES},
        {"proximal": 0.1, "correction": True},
    ],
    ids=["proximal", "correction", "relabel", "both"],
)
def test_terms_reach_the_update_alike(change: dict[str, object], optimizer: LocalOptimizer) -> None:
    sequential, together = engines()
    jobs = ragged(sequential, seed=1)
    rng = np.random.default_rng(2)
    if "correction" in change:
        change = change | {"correction": (0.3 * rng.normal(size=sequential.layout.size)).astype(np.float32)}
    changed = [replace(jobs[0], **change), jobs[1], replace(jobs[2], **change)]
    found = train(together, changed, optimizer)
    assert_same(found, train(sequential, changed, optimizer))
    plain = train(together, jobs, optimizer)
    assert np.array_equal(found[1].delta, plain[1].delta)
    assert not np.allclose(found[0].delta, plain[0].delta, rtol=1e-3)


@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=["sgd", "adamw"])
def test_clipping(optimizer: LocalOptimizer) -> None:
    sequential, together = engines()
    jobs = ragged(sequential, seed=3)
    clipped = replace(optimizer, clipping_norm=0.05)
    found = train(together, jobs, clipped)
    assert_same(found, train(sequential, jobs, clipped))
    assert not np.allclose(found[0].delta, train(together, jobs, optimizer)[0].delta, rtol=1e-3)


@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=["sgd", "adamw"])
def test_kept_state_continues_as_one_long_training(optimizer: LocalOptimizer) -> None:
    sequential, together = engines()
    (job,) = ragged(sequential, seed=4, steps=(4,))
    optimizer = replace(optimizer, weight_decay=0.0)
    for engine in (sequential, together):
        whole = train(engine, [job], optimizer)[0]
        first = train(engine, [replace(job, rows=job.rows[:2], rates=job.rates[:2])], optimizer)[0]
        again = replace(job, start=job.start + first.delta, rows=job.rows[2:], rates=job.rates[2:], state=first.state)
        second = train(engine, [again], optimizer)[0]
        np.testing.assert_allclose(first.delta + second.delta, whole.delta, atol=2e-6)
        anew = train(engine, [replace(again, state={})], optimizer)[0]
        assert not np.allclose(anew.delta, second.delta, rtol=1e-3)


def test_one_step_of_sgd_is_the_gradient() -> None:
    sequential, together = engines()
    rows = np.arange(7)
    job = Job(0, sequential.first, (rows,), np.ones(1))
    for engine in (sequential, together):
        loss, gradient = engine.gradient(sequential.first, rows)
        trained = train(engine, [job], LocalOptimizer("sgd"))[0]
        np.testing.assert_allclose(trained.delta, -gradient, atol=1e-6)
        np.testing.assert_allclose(trained.losses, [loss], rtol=1e-5)


def test_gradient_and_outputs_are_those_of_the_plain_model() -> None:
    task = llama_lora()
    sequential, together = engines("llama, LoRA")
    rng = np.random.default_rng(5)
    vector = (sequential.first + 0.1 * rng.normal(size=sequential.layout.size)).astype(np.float32)
    rows = rng.permutation(60)[:31]
    model = task.model(KEY)
    load_vector(model, vector)
    batch = task.collate(rows)
    logits = model(**batch.inputs).logits
    loss = torch.nn.functional.cross_entropy(logits, batch.labels)
    loss.backward()
    expected = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.requires_grad]).numpy()
    for engine in (sequential, together):
        np.testing.assert_allclose(outputs(engine, vector, rows), logits.detach().numpy(), atol=1e-4)
        found, gradient = engine.gradient(vector, rows)
        assert found == pytest.approx(loss.item(), rel=1e-4)
        np.testing.assert_allclose(gradient, expected, atol=1e-4 * np.abs(expected).max())
        assert outputs(engine, vector, rows[:0]).shape == (0, CLASSES)


@pytest.mark.parametrize("name", ADAPTERS)
def test_bfloat16_stays_close_to_float32(name: str) -> None:
    sequential, _ = engines(name)
    lowered = fused(ADAPTERS[name](), precision="bfloat16")
    assert lowered.plan()["engine"] == "fused"
    rng = np.random.default_rng(0)
    starts = [sequential.first] * 2
    jobs = [Job(k, start, (rng.permutation(60)[:16],), np.ones(1)) for k, start in enumerate(starts)]
    for mine, other in zip(
        train(lowered, jobs, LocalOptimizer("sgd")), train(sequential, jobs, LocalOptimizer("sgd")), strict=True
    ):
        assert cosine(mine.delta, other.delta) >= 0.999
    assert outputs(lowered, sequential.first, np.arange(5)).dtype == np.float32


def test_the_order_of_jobs_does_not_matter() -> None:
    _, together = engines()
    jobs = ragged(together, seed=6, steps=(2, 2, 3, 1))
    expected = {trained.client: trained.delta for trained in train(together, jobs, ADAMW)}
    for trained in train(together, [jobs[i] for i in (3, 1, 0, 2)], ADAMW):
        assert np.array_equal(trained.delta, expected[trained.client])


def test_a_diverged_client_harms_no_other() -> None:
    _, together = engines()
    jobs = ragged(together, seed=7, steps=(2, 2))
    alone = train(together, jobs, SGD)[1].delta
    broken = replace(jobs[0], start=np.full_like(jobs[0].start, np.inf))
    beside = train(together, [broken, jobs[1]], SGD)
    assert not np.isfinite(beside[0].delta).all()
    np.testing.assert_allclose(beside[1].delta, alone, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("task", [bert_lora, llama_lora, lambda: llama_lora(left=True)], ids=["bert", "llama", "left"])
def test_kept_prefix_gives_what_computing_gives(task: object, precision: str) -> None:
    without, kept = fused(task(), precision=precision, cache_bytes=0), fused(task(), precision=precision)
    partly = fused(task(), precision=precision, cache_bytes=8000)
    assert without.plan()["prefix"] == "computed"
    assert kept.plan()["prefix"] == partly.plan()["prefix"] == "kept"
    jobs = ragged(kept)
    tolerance = 1e-4 if precision == "float32" else 0.1
    expected = train(without, jobs, SGD)
    assert_same(train(kept, jobs, SGD), expected, tolerance)
    assert_same(train(partly, jobs, SGD), expected, tolerance)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("options", [{}, {"cache_bytes": 20000}, {"cache_rows": np.arange(10, 50)}])
def test_history_does_not_change_a_bit(options: dict[str, object], precision: str) -> None:
    fresh, used = fused(bert_lora(), precision=precision, **options), fused(bert_lora(), precision=precision, **options)
    for rows in np.random.default_rng(8).permutation(60).reshape(12, 5):
        outputs(used, used.first, rows)
    train(used, ragged(used, seed=9), ADAMW)
    rows = np.random.default_rng(10).permutation(60)
    assert np.array_equal(outputs(fresh, fresh.first, rows), outputs(used, fresh.first, rows))
    assert np.array_equal(fresh.gradient(fresh.first, rows)[1], used.gradient(fresh.first, rows)[1])
    for mine, other in zip(train(fresh, ragged(fresh), SGD), train(used, ragged(fresh), SGD), strict=True):
        assert np.array_equal(mine.delta, other.delta)
        assert np.array_equal(mine.losses, other.losses)


def test_outputs_do_not_depend_on_the_order_of_the_rows() -> None:
    _, together = engines()
    rows = np.arange(60)
    mixed = np.random.default_rng(11).permutation(60)
    assert np.array_equal(outputs(together, together.first, rows)[mixed], outputs(together, together.first, mixed))


def test_a_plan_is_repeated_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    made = fused(bert_lora(), precision="auto", micro_batch_tokens=40)
    monkeypatch.setattr("qfedfm.clients.precision.probe", lambda *_: pytest.fail("measured again"))
    repeated = FusedEngine(bert_lora(), KEY, plan=made.plan())
    assert repeated.plan() == made.plan()
    jobs = ragged(made)
    for mine, other in zip(train(made, jobs, SGD), train(repeated, jobs, SGD), strict=True):
        assert np.array_equal(mine.delta, other.delta)


class _Mixing(torch.nn.Module):
    """A frozen encoder whose trained part mixes the rows of a batch, so that clients cannot share one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(50, 8)
        self.classifier = torch.nn.Linear(8, CLASSES)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = (self.embedding(input_ids) * attention_mask.unsqueeze(-1)).sum(1)
        logits = self.classifier(states)
        return torch.nn.functional.cross_entropy, logits - logits.mean(0)


class _MixingTask(TinyTask):
    def forward(self, model: torch.nn.Module, inputs: object) -> torch.Tensor:
        return model(**inputs)[1]


def test_a_model_that_mixes_rows_is_trained_one_client_after_the_other(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "qfedfm"):
        engine = fused(_MixingTask(_Mixing, None, "classifier"))
    assert engine.plan()["engine"] == "sequential"
    assert len(caplog.records) == 1
    assert "gradient" in caplog.text
    sequential = SequentialEngine(_MixingTask(_Mixing, None, "classifier"), KEY)
    jobs = ragged(sequential)
    assert_same(train(engine, jobs, SGD), train(sequential, jobs, SGD))
    assert np.array_equal(outputs(engine, engine.first, np.arange(3)), outputs(sequential, engine.first, np.arange(3)))
    assert engine.gradient(engine.first, np.arange(3))[0] == sequential.gradient(engine.first, np.arange(3))[0]


def test_parameters_of_no_called_module_fall_back(caplog: pytest.LogCaptureFixture) -> None:
    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(50, 8)
            self.trained = torch.nn.Parameter(torch.ones(8, CLASSES))

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[None, torch.Tensor]:
            return None, (self.embedding(input_ids) * attention_mask.unsqueeze(-1)).sum(1) @ self.trained

    engine = fused(_MixingTask(Whole, None, "trained"))
    assert engine.plan()["engine"] == "sequential"
    assert "trained is used by the model as a whole" in caplog.text


def forced(job: Job, **changes: object) -> Job:
    """A changed job whose shapes were not checked, as outside of the tests."""
    changed = copy.copy(job)
    for name, value in changes.items():
        object.__setattr__(changed, name, value)
    return changed


def test_what_does_not_fit_is_refused() -> None:
    sequential, together = engines()
    job = ragged(sequential, steps=(2,))[0]
    wrong = [
        forced(job, start=job.start[1:]),
        forced(job, correction=job.start[1:]),
        forced(job, state={"momentum": job.start[1:]}),
        forced(job, rates=job.rates[:1]),
        forced(job, rows=(job.rows[0], job.rows[1][:0])),
    ]
    for engine in (sequential, together):
        for bad in wrong:
            with pytest.raises(DataError):
                engine.train([forced(bad, optimizer=SGD)])
        with pytest.raises(DataError):
            outputs(engine, job.start[1:], np.arange(2))
    with pytest.raises(ConfigError, match="precision"):
        fused(bert_lora(), precision="float16")


def test_no_jobs_and_no_steps() -> None:
    for engine in engines():
        assert train(engine, [], SGD) == []
        (trained,) = train(engine, [Job(4, engine.first, (), np.zeros(0))], SGD)
        assert trained.client == 4
        assert not trained.delta.any()
        assert trained.losses.shape == (0,)
        assert trained.state == {}


def test_rows_of_one_length_need_no_mask() -> None:
    class Unmasked(TinyTask):
        def collate(self, rows: np.ndarray) -> Batch:
            batch = super().collate(rows)
            return Batch({"input_ids": batch.inputs["input_ids"]}, batch.labels)

    ragged_rows, equal_rows = (Unmasked(bert, lora("classifier", "query"), rows=60) for _ in range(2))
    equal_rows.data["tokens"] = list(np.random.default_rng(0).integers(1, 50, (60, 7)))
    assert fused(ragged_rows).plan()["prefix"] == "computed"
    engine, sequential = fused(equal_rows), SequentialEngine(equal_rows, KEY)
    assert engine.plan()["prefix"] == "kept"
    jobs = ragged(sequential)
    assert_same(train(engine, jobs, SGD), train(sequential, jobs, SGD))


def test_the_cap_bounds_what_is_kept() -> None:
    task = bert_lora()
    engine = fused(task, cache_bytes=20000)
    outputs(engine, engine.first, np.arange(60))
    kept = engine._network._cache._kept
    assert 0 < sum(states.numel() * states.element_size() for states in kept.values()) <= 20000
    longest = max(len(task._tokens()[row]) for row in kept)
    assert longest <= min(len(task._tokens()[row]) for row in set(range(60)) - set(kept))


def test_layers_that_need_more_than_hidden_states_are_computed(caplog: pytest.LogCaptureFixture) -> None:
    class Skipping(torch.nn.Module):
        """Its head reads the embeddings besides the result of the layers."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(50, 8)
            self.layers = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(2))
            self.classifier = torch.nn.Linear(8, CLASSES)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[None, torch.Tensor]:
            hidden = self.embedding(input_ids)
            first = hidden[:, :1].mean(2)
            for layer in self.layers:
                hidden = layer(hidden)
            pooled = (hidden * attention_mask.unsqueeze(-1)).sum(1)
            return None, self.classifier(pooled + 100 * first)

    with caplog.at_level(logging.WARNING, "qfedfm"):
        engine = fused(_MixingTask(Skipping, None, "classifier"))
    assert engine.plan()["engine"] == "fused"
    assert engine.plan()["prefix"] == "computed"
    assert "not kept" in caplog.text
    few = fused(_MixingTask(Skipping, None, "classifier"), cache_rows=np.arange(40, 44))
    assert few.plan()["prefix"] == "computed"
