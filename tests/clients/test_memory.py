"""The memory budget: what the plan makes of it, and what is held in truth."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

from qfedfm.adapters.peft import Adapter
from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import Job, LocalOptimizer, Query
from qfedfm.clients.memory import MARGIN, Needs, SavedBytes, budget, fitted, guarded
from qfedfm.clients.plan import Plan
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from tests.clients.tiny import TinyTask, bert_lora, llama_lora

KEY = Key.of(0)
FEW = settings(max_examples=300, deadline=None, derandomize=True)
PLAN = Plan("fused", "cpu", "float32", "default", "lean", 1024, 0, 0)
NEEDS = st.builds(
    Needs,
    base=st.integers(0, 10**6),
    token=st.integers(1, 10**4),
    lane=st.integers(1, 10**7),
    cache=st.integers(0, 10**8),
    longest=st.integers(1, 512),
)


def held(plan: Plan, needs: Needs) -> float:
    tokens = max(plan.micro_batch_tokens, needs.longest)  # a pass has at least one row
    return needs.base + MARGIN * tokens * needs.token + plan.cache_bytes + plan.lanes * needs.lane


def least(needs: Needs) -> int:
    """One client with one row and nothing kept."""
    return needs.base + int(MARGIN * needs.longest * needs.token) + needs.lane


@FEW
@given(needs=NEEDS, spare=st.floats(0, 30), tokens=st.integers(1, 5000))
def test_what_is_planned_fits(needs: Needs, spare: float, tokens: int) -> None:
    memory = int(least(needs) * (1 + spare))
    plan = fitted(replace(PLAN, micro_batch_tokens=tokens), needs, memory)
    assert held(plan, needs) <= memory + 1
    assert plan.lanes >= 1
    assert 0 <= plan.cache_bytes <= needs.cache
    assert 1 <= plan.micro_batch_tokens <= tokens or plan.micro_batch_tokens == needs.longest


@FEW
@given(needs=NEEDS, short=st.integers(1, 10**6))
def test_less_than_one_client_needs_is_refused_and_the_need_is_named(needs: Needs, short: int) -> None:
    with pytest.raises(ConfigError) as refused:
        fitted(PLAN, needs, least(needs) - short)
    named = int(re.search(r"at least (\d+) MB", str(refused.value))[1]) * 10**6
    assert least(needs) <= named <= least(needs) + 10**6
    assert fitted(PLAN, needs, named).lanes >= 1
    assert fitted(PLAN, needs, least(needs)).lanes >= 1


@FEW
@given(needs=NEEDS, spare=st.floats(0, 30))
def test_all_that_is_asked_for_where_it_fits(needs: Needs, spare: float) -> None:
    """Half of what the base leaves is enough for the pass, a quarter for the hidden states: nothing is cut."""
    need = max(2 * MARGIN * 1024 * needs.token, 4 * needs.cache, 4 * needs.lane, least(needs))
    plan = fitted(PLAN, needs, needs.base + int(need * (1 + spare)) + 4)
    assert plan.micro_batch_tokens == 1024
    assert plan.cache_bytes == needs.cache


def test_by_hand() -> None:
    needs = Needs(base=100, token=1, lane=10, cache=1000, longest=8)
    # 1000 left: 1.25 · 320 for a pass, half of the other 600 kept, 30 clients in the rest
    plan = fitted(replace(PLAN, micro_batch_tokens=320), needs, 1100)
    assert (plan.micro_batch_tokens, plan.cache_bytes, plan.lanes) == (320, 300, 30)
    # 20 left: one row and one client, nothing kept
    plan = fitted(replace(PLAN, micro_batch_tokens=320), needs, 120)
    assert (plan.micro_batch_tokens, plan.cache_bytes, plan.lanes) == (8, 0, 1)


def test_the_budget_that_nobody_names() -> None:
    assert budget(None, torch.device("cpu")) == 4 * 10**9
    assert budget(7, torch.device("cpu")) == 7


def test_saved_bytes_are_those_of_the_tensors_that_autograd_keeps() -> None:
    weight = torch.ones(6, 5, requires_grad=True)
    with SavedBytes([weight]) as saved:
        x = torch.ones(3, 5)
        y = torch.exp(x @ weight.t())  # keeps x and its own result, both in float32
        y.sum().backward()
    assert saved.total == 4 * (3 * 5 + 3 * 6)


# ---- engines


def engine(task: TinyTask, memory: int | None = None, **options: object) -> FusedEngine:
    return FusedEngine(task, KEY, **{"device": "cpu", "precision": "float32", "memory": memory} | options)


def jobs(engine: FusedEngine, clients: int = 4) -> list[Job]:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(clients, engine.layout.size)).astype(np.float32)
    sizes = rng.integers(1, 12, (clients, 2))
    return [
        Job(
            client,
            engine.first + 0.05 * noise[client],
            tuple(rng.integers(0, 60, size) for size in sizes[client]),
            np.full(2, 0.02),
            LocalOptimizer("sgd", momentum=0.9),
        )
        for client in range(clients)
    ]


def needed(task: TinyTask, monkeypatch: pytest.MonkeyPatch, **options: object) -> tuple[FusedEngine, Needs]:
    """An engine within 4 GB, and what it was found to need."""
    seen: list[Needs] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            "qfedfm.clients.fused.fitted", lambda plan, needs, size: seen.append(needs) or fitted(plan, needs, size)
        )
        made = engine(task, **options)
    return made, seen[0]


@pytest.mark.parametrize(
    ("task", "encoder"),
    [(bert_lora, "auto"), (bert_lora, "modules"), (llama_lora, "auto")],
    ids=["lean", "bert", "llama"],
)
def test_the_smallest_budget_gives_what_a_large_one_gives(
    task: object, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, needs = needed(task(), monkeypatch, encoder=encoder)
    small = engine(task(), least(needs), encoder=encoder)
    assert small.plan()["engine"] == "fused"
    assert small.plan()["lanes"] == "1"
    assert int(small.plan()["micro_batch_tokens"]) == max(task().lengths())
    assert small.plan()["cache_bytes"] == "0"
    assert small.plan()["prefix"] == "computed"
    assert int(large.plan()["lanes"]) > 4
    mine, other = jobs(large), jobs(small)
    for one, two in zip(large.train(mine), small.train(other), strict=True):
        assert np.linalg.norm(one.delta - two.delta) <= 2e-4 * np.linalg.norm(two.delta)
        np.testing.assert_allclose(one.losses, two.losses, rtol=1e-4)
    query = Query(large.first, np.arange(60))
    np.testing.assert_allclose(large.outputs([query])[0], small.outputs([query])[0], atol=1e-4)


def test_a_budget_below_one_client_is_refused_before_training() -> None:
    with pytest.raises(ConfigError, match=r"at least .* MB for one client"):
        engine(bert_lora(), 1000)


@pytest.mark.parametrize("task", [bert_lora, llama_lora])
def test_rows_longer_than_the_pass_that_somebody_chose(task: object) -> None:
    short, usual = engine(task(), micro_batch_tokens=2), engine(task())
    assert short.plan()["engine"] == "fused"
    for one, two in zip(short.train(jobs(short)), usual.train(jobs(usual)), strict=True):
        assert np.linalg.norm(one.delta - two.delta) <= 2e-4 * np.linalg.norm(two.delta)


class Wide(TinyTask):
    """Rows of 200 to 256 tokens, but for the first, which says nothing about the others."""

    def _tokens(self) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return [rng.integers(3, 50, 4 if i == 0 else 200 + i % 57) for i in range(self.rows)]


def peak(call: object) -> int:
    """The most bytes that torch's allocator held during a call, above what it held before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    events = profile.profiler.kineto_results.events()
    sizes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    return int(np.cumsum([size for _, size in sorted(sizes, key=lambda at: at[0])]).max())


def wide_bert() -> torch.nn.Module:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=50, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=256,
            max_position_embeddings=300, num_labels=3,
        )
    )  # fmt: skip


def wide_llama() -> torch.nn.Module:
    return LlamaForSequenceClassification(
        LlamaConfig(
            vocab_size=50, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4,
            intermediate_size=256, max_position_embeddings=300, num_labels=3, pad_token_id=0,
        )
    )  # fmt: skip


def adapter(*targets: str, layers: object = "all", dropout: float = 0.0) -> Adapter:
    return Adapter(options={"r": 4, "lora_dropout": dropout, "target_modules": list(targets)}, layers=layers)


BERT = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
WEIGHED = {
    "lean": (Wide(wide_bert, adapter("query", "value")), "auto"),
    "lean, last layer": (Wide(wide_bert, adapter("query", "value", layers=1)), "auto"),
    "lean, dropout everywhere": (Wide(wide_bert, adapter(*BERT, dropout=0.1)), "auto"),
    "modules": (Wide(wide_bert, adapter("query", "value")), "modules"),
    "llama": (Wide(wide_llama, adapter("q_proj", "v_proj", "up_proj", "down_proj", dropout=0.1)), "auto"),
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", WEIGHED)
def test_no_more_is_held_than_planned(name: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full passes of rows that are much longer than a bin of 64, at work on two and on six clients."""
    task, encoder = WEIGHED[name]
    made, needs = needed(task, monkeypatch, encoder=encoder, precision=precision, cache_bytes=0)
    # the profiler sees one thread: a pass alone, of which as many are planned as there are workers
    monkeypatch.setattr("qfedfm.clients.fused.side_by_side", lambda work, items, _: [work(item) for item in items])
    tokens = int(made.plan()["micro_batch_tokens"])
    for lanes in (2, 6):
        rows = max(1, 2 * tokens // int(task.lengths()[1:].mean()) // lanes)
        asked = [
            Job(k, made.first, (np.arange(1, 1 + rows),), np.ones(1), LocalOptimizer("sgd"), dropout=KEY.fold(k))
            for k in range(lanes)
        ]
        list(made.train(asked))  # what is made once is there
        found = peak(lambda asked=asked: list(made.train(asked)))
        assert found <= MARGIN * tokens * needs.token + lanes * needs.lane
        assert found >= 0.2 * MARGIN * tokens * needs.token  # or the plan would waste the memory


def test_a_device_out_of_memory_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"CUDA out of memory.*lower engine\.memory"), guarded():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
