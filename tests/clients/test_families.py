"""No family of models falls back to one client after the other, for any adapter that is offered."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from qfedfm.adapters.kinds import OFFERED, PROMPTS
from qfedfm.adapters.peft import Adapter
from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import Job, LocalOptimizer
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from tests.clients.tiny import TinyImages, TinyTask, bert, gpt2, llama, roberta, vit

KEY = Key.of(0)
MODELS = {"bert": bert, "roberta": roberta, "gpt2": gpt2, "llama": llama, "vit": vit}
FAMILIES = {name: partial(model, 1) for name, model in MODELS.items()}
LINEARS = {
    "bert": ["query", "value", "output.dense"],
    "roberta": ["query", "value", "output.dense"],
    "gpt2": ["c_attn", "c_proj"],
    "llama": ["q_proj", "v_proj", "down_proj"],
    "vit": ["q_proj", "v_proj", "fc2"],
}
WIDENING = {"bert": "output.dense", "roberta": "output.dense", "gpt2": "c_proj", "llama": "down_proj", "vit": "fc2"}
NORMS = {
    "bert": ["LayerNorm"],
    "roberta": ["LayerNorm"],
    "gpt2": ["ln_1", "ln_2", "ln_f"],
    "llama": ["input_layernorm", "norm"],
    "vit": ["layernorm_before", "layernorm"],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "boft": {"boft_block_size": 4},
    "c3a": {"block_size": 16},
    "fourierft": {"n_frequency": 20},
    "gralora": {"r": 4, "gralora_k": 2},
    "oft": {"r": 0, "oft_block_size": 8},
    "p_tuning": {"num_virtual_tokens": 4, "encoder_hidden_size": 16},
    "prefix_tuning": {"num_virtual_tokens": 4},
    "prompt_tuning": {"num_virtual_tokens": 4},
    "randlora": {"r": 4, "randlora_alpha": 4},
    "road": {"group_size": 8},
    "shira": {"r": 2},
    "vblora": {"vector_length": 16, "num_vectors": 8},
    "waveft": {"n_frequency": 20},
    **{kind: {} for kind in ("beft", "ia3", "ln_tuning", "supertuning", "tinylora", "unilora")},
}
"""Options small enough for these models; the others take r = 4."""
MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "lora of rank-stabilised scale": ("lora", {"r": 4, "use_rslora": True}),
    "lora with bias": ("lora", {"r": 4, "lora_bias": True}),
    "lora beside all biases": ("lora", {"r": 4, "bias": "all"}),
    "dora": ("lora", {"r": 4, "use_dora": True}),
    "oft by an exact inverse": ("oft", {"r": 0, "oft_block_size": 8, "use_cayley_neumann": False}),
    "oft of one shared block": ("oft", {"r": 0, "oft_block_size": 8, "block_share": True}),
    "lokr of two products": ("lokr", {"r": 2, "decompose_both": True}),
    "miss by matrices": ("miss", {"r": 4, "init_weights": "bat"}),
    "p_tuning by an LSTM": (
        "p_tuning",
        {"num_virtual_tokens": 2, "encoder_hidden_size": 8, "encoder_reparameterization_type": "LSTM"},
    ),
    "prefix_tuning by a projection": (
        "prefix_tuning",
        {"num_virtual_tokens": 4, "prefix_projection": True, "encoder_hidden_size": 16},
    ),
}
"""Options that lead through other code."""
REFUSED_BY_PEFT = {
    ("gpt2", kind): "Conv1D"
    for kind in (
        "beft", "boft", "c3a", "delora", "glora", "hra", "loha", "lokr", "miss", "oft", "peanut", "psoft",
        "road", "shira", "supertuning",
    )
} | {("vit", kind): "reads pixel_values" for kind in PROMPTS}  # fmt: skip
"""Pairs that peft has no layer for, with the reason in its own words, or that make no sense."""


def adapter(family: str, name: str) -> Adapter:
    kind, options = MORE.get(name, (name, OPTIONS.get(name, {"r": 4})))
    if kind not in PROMPTS:
        options = options | {"target_modules": NORMS[family] if kind == "ln_tuning" else LINEARS[family]}
    if kind == "ia3":
        options = options | {"feedforward_modules": [WIDENING[family]]}
    return Adapter(kind=kind, options=options)


@cache
def task(family: str, name: str) -> TinyTask:
    return (TinyImages if family == "vit" else TinyTask)(FAMILIES[family], adapter(family, name), rows=20)


def jobs(engine: SequentialEngine) -> list[Job]:
    """Ragged: three clients with different starts, batches of different sizes and numbers of steps."""
    rng = np.random.default_rng(0)
    starts = engine.first + 0.02 * rng.normal(size=(3, engine.layout.size))
    return [
        Job(client, start.astype(np.float32), rows, np.full(len(rows), 0.01), LocalOptimizer("sgd"))
        for client, (start, rows) in enumerate(
            zip(starts, [(np.arange(3), np.arange(9, 11)), (np.arange(5, 9),), (np.arange(12, 13),)], strict=True)
        )
    ]


PAIRS = [
    *((family, name) for name in OFFERED for family in FAMILIES),
    *((family, name) for name in MORE for family in ("bert", "gpt2")),
]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize(("family", "name"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_every_family_is_fused_with_every_adapter(family: str, name: str) -> None:
    reason = REFUSED_BY_PEFT.get((family, adapter(family, name).kind))
    if reason is not None:
        with pytest.raises(ConfigError, match=reason):
            task(family, name).model(KEY)
        return
    sequential = SequentialEngine(task(family, name), KEY)
    fused = FusedEngine(task(family, name), KEY, device="cpu", precision="float32", micro_batch_tokens=60)
    assert fused.plan()["engine"] == "fused"
    for mine, other in zip(fused.train(jobs(sequential)), sequential.train(jobs(sequential)), strict=True):
        assert np.linalg.norm(other.delta) > 0
        assert np.linalg.norm(mine.delta - other.delta) <= 1e-4 * np.linalg.norm(other.delta)
        np.testing.assert_allclose(mine.losses, other.losses, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize("name", OFFERED)
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_no_adapter_falls_back_in_bfloat16(family: str, name: str) -> None:
    if (family, name) not in REFUSED_BY_PEFT:
        engine = FusedEngine(task(family, name), KEY, device="cpu", precision="bfloat16", micro_batch_tokens=60)
        assert engine.plan()["engine"] == "fused"
