"""The laws of the fused engine: what it gives is what the sequential one gives, whoever else is in the call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import Job, LocalOptimizer, Query, Trained
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core.key import Key
from tests.clients.tiny import CLASSES, TinyTask, bert_lora, llama_lora

KEY, ROWS = Key.of(0), 60
FEW = settings(max_examples=10, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
ENGINES = pytest.mark.parametrize("name", ["bert, auto", "bert, modules", "llama, auto", "llama, modules"])
OPTIMIZERS = (
    LocalOptimizer("sgd"),
    LocalOptimizer("sgd", momentum=0.9, weight_decay=0.01),
    LocalOptimizer("sgd", clipping_norm=0.05),
    LocalOptimizer("adamw", eps=1e-3),
    LocalOptimizer("adamw", eps=1e-3, weight_decay=0.1, betas=(0.5, 0.9), clipping_norm=0.5),
)
"""AdamW with a larger eps than the default: where a gradient is rounding noise, its step would be noise as well."""


@cache
def task(family: str) -> TinyTask:
    return {"bert": bert_lora, "llama": llama_lora}[family](rows=ROWS)


@cache
def sequential(family: str) -> SequentialEngine:
    return SequentialEngine(task(family), KEY)


@cache
def fused(name: str) -> FusedEngine:
    family, encoder = name.split(", ")
    options = {"device": "cpu", "precision": "float32", "micro_batch_tokens": 60, "encoder": encoder}
    engine = FusedEngine(task(family), KEY, **options)
    assert engine.plan()["engine"] == "fused"
    assert engine.plan()["encoder"] == ("lean" if name == "bert, auto" else "modules")
    return engine


def reference(name: str) -> SequentialEngine:
    return sequential(name.split(", ", maxsplit=1)[0])


def flipped(labels: np.ndarray) -> np.ndarray:
    """What a hostile client does to the labels of a batch, each by its place in it."""
    return (labels + np.arange(len(labels))) % CLASSES


@dataclass(frozen=True)
class Recipe:
    """A job without the vectors, which are drawn from its seed."""

    group: int
    client: int
    sizes: tuple[int, ...]
    optimizer: LocalOptimizer
    proximal: float
    corrected: bool
    continued: bool
    hostile: bool
    seed: int

    def job(self, engine: SequentialEngine, dropping: frozenset[int]) -> Job:
        rng, d = np.random.default_rng(self.seed), engine.layout.size
        noise = rng.normal(size=(4, d)).astype(np.float32)
        moments = {"momentum": 0.01 * noise[1]}
        if self.optimizer.name == "adamw":
            moments = {"exp_avg": 0.01 * noise[1], "exp_avg_sq": 1e-3 * noise[2] ** 2, "step": np.asarray(3)}
        return Job(
            client=self.client,
            start=engine.first + 0.05 * noise[0],
            rows=tuple(rng.integers(0, ROWS, size) for size in self.sizes),  # with repetitions
            rates=rng.uniform(0.005, 0.05, len(self.sizes)),
            optimizer=self.optimizer,
            group=self.group,
            proximal=self.proximal,
            correction=0.1 * noise[3] if self.corrected else None,
            state=moments if self.continued and (self.optimizer.momentum or self.optimizer.name == "adamw") else {},
            relabel=flipped if self.hostile else None,
            dropout=KEY.fold("dropout", self.group, self.client) if self.client % 3 in dropping else None,
        )


RECIPES = st.lists(
    st.builds(
        Recipe,
        group=st.integers(0, 2),
        client=st.integers(0, 9),
        sizes=st.lists(st.integers(1, 5), max_size=3).map(tuple),
        optimizer=st.sampled_from(OPTIMIZERS),
        proximal=st.sampled_from([0.0, 0.5]),
        corrected=st.booleans(),
        continued=st.booleans(),
        hostile=st.booleans(),
        seed=st.integers(0, 999),
    ),
    min_size=1,
    max_size=7,
)
DROPPING = st.frozensets(st.integers(0, 2))
"""Which clients have a key for dropout, by their number modulo 3."""


def assert_same(mine: Trained, other: Trained) -> None:
    """Within the rounding of float32 summed in another order."""
    assert mine.client == other.client
    assert np.linalg.norm(mine.delta - other.delta) <= 2e-4 * np.linalg.norm(other.delta)
    np.testing.assert_allclose(mine.losses, other.losses, rtol=1e-4)
    assert mine.state.keys() == other.state.keys()
    for name, expected in other.state.items():
        assert np.linalg.norm(mine.state[name] - expected) <= 2e-4 * np.linalg.norm(expected)


def assert_identical(mine: Trained, other: Trained) -> None:
    assert mine.client == other.client
    assert np.array_equal(mine.delta, other.delta)
    assert np.array_equal(mine.losses, other.losses)
    assert mine.state.keys() == other.state.keys()
    assert all(np.array_equal(mine.state[name], other.state[name]) for name in other.state)


@ENGINES
@FEW
@given(recipes=RECIPES, dropping=DROPPING)
def test_fused_is_sequential_in_the_order_of_the_jobs(
    name: str, recipes: list[Recipe], dropping: frozenset[int]
) -> None:
    plain = reference(name)
    jobs = [recipe.job(plain, dropping) for recipe in recipes]
    for mine, other in zip(fused(name).train(jobs), plain.train(jobs), strict=True):
        assert_same(mine, other)


@ENGINES
@FEW
@given(recipes=RECIPES, dropping=DROPPING)
def test_a_group_gives_the_same_bits_whatever_other_groups_there_are(
    name: str, recipes: list[Recipe], dropping: frozenset[int]
) -> None:
    engine, plain = fused(name), reference(name)
    jobs = [recipe.job(plain, dropping) for recipe in recipes]
    together = list(engine.train(jobs))
    for group in {job.group for job in jobs}:
        mine = [trained for trained, job in zip(together, jobs, strict=True) if job.group == group]
        alone = engine.train([job for job in jobs if job.group == group])
        for one, other in zip(mine, alone, strict=True):
            assert_identical(one, other)


@ENGINES
@FEW
@given(recipes=RECIPES, dropping=DROPPING, seed=st.integers(0, 99))
def test_the_order_of_the_jobs_changes_no_bit(
    name: str, recipes: list[Recipe], dropping: frozenset[int], seed: int
) -> None:
    engine, plain = fused(name), reference(name)
    unique = {(recipe.group, recipe.client): recipe for recipe in recipes}
    jobs = [recipe.job(plain, dropping) for recipe in unique.values()]
    order = np.random.default_rng(seed).permutation(len(jobs))
    expected = list(engine.train(jobs))
    for i, mine in zip(order, engine.train([jobs[i] for i in order]), strict=True):
        assert_identical(mine, expected[i])


@ENGINES
@FEW
@given(sizes=st.lists(st.integers(0, 20), max_size=4), seed=st.integers(0, 99))
def test_queries_together_are_each_alone(name: str, sizes: list[int], seed: int) -> None:
    engine, plain = fused(name), reference(name)
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(len(sizes), engine.layout.size)).astype(np.float32)
    queries = [
        Query(engine.first + 0.1 * mine, rng.integers(0, ROWS, size)) for mine, size in zip(noise, sizes, strict=True)
    ]
    together = engine.outputs(queries)
    assert len(together) == len(queries)
    for query, found, expected in zip(queries, together, plain.outputs(queries), strict=True):
        assert np.array_equal(found, engine.outputs([query])[0])
        assert found.shape == (len(query.rows), CLASSES)
        np.testing.assert_allclose(found, expected, atol=2e-4)


@ENGINES
@FEW
@given(size=st.integers(1, 30), seed=st.integers(0, 99))
def test_the_gradient_is_a_step_of_rate_one_and_the_sequential_one(name: str, size: int, seed: int) -> None:
    engine, plain = fused(name), reference(name)
    rng = np.random.default_rng(seed)
    vector = engine.first + 0.1 * rng.normal(size=engine.layout.size).astype(np.float32)
    rows = rng.integers(0, ROWS, size)
    loss, gradient = engine.gradient(vector, rows)
    (step,) = engine.train([Job(0, vector, (rows,), np.ones(1), LocalOptimizer("sgd"))])
    assert step.losses[0] == np.float32(loss)
    np.testing.assert_allclose(step.delta, -gradient, atol=3e-7 * (1 + np.abs(vector).max()))  # start + delta rounds
    expected_loss, expected = plain.gradient(vector, rows)
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    assert np.linalg.norm(gradient - expected) <= 2e-4 * np.linalg.norm(expected)


@ENGINES
def test_jobs_are_trained_as_they_are_asked_for(name: str) -> None:
    """What comes first does not wait for a later job that cannot be trained."""
    engine = fused(name)

    def failing(labels: np.ndarray) -> np.ndarray:
        raise LookupError

    job = Job(0, engine.first, (np.arange(3),), np.full(1, 0.1), LocalOptimizer("sgd"))
    trained = iter(engine.train([job, replace(job, client=1, group=1, relabel=failing)]))
    assert next(trained).client == 0
    with pytest.raises(LookupError):
        next(trained)
