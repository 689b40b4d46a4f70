"""Dropout by keys: the masks against their formula and their statistics, and lanes against each client on its own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from peft.tuners.lora.layer import LoraLayer
from peft.tuners.lora.variants import DoraLinearVariant

from qfedfm.adapters.dropout import KeyedDropout, keep, mix, name_hash, row_seeds
from qfedfm.adapters.peft import Adapter
from qfedfm.adapters.tensors import gradient_of, layout_of, load_vector, vector_of
from qfedfm.clients.dropout import step_seeds
from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import Job, LocalOptimizer
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.clients.stacking import stack_modules
from qfedfm.clients.trace import trace
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from tests.clients.tiny import TinyImages, TinyTask, bert, gpt2, llama, roberta, vit

KEY = Key.of(0)
TOKENS, FEATURES = 50, 64


def splitmix(z: int) -> int:
    """The finaliser in Python's own integers."""
    z &= 2**64 - 1
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) % 2**64
    return z ^ z >> 31


def signed(value: int, bits: int) -> int:
    return value - 2**bits if value >= 2 ** (bits - 1) else value


def masks(rows: int, p: float, module: str = "a", first: int = 0) -> torch.Tensor:
    seeds = torch.arange(first, first + rows).unsqueeze(1)
    return keep(seeds, name_hash(module), torch.arange(TOKENS), FEATURES, p)


def test_the_generator_is_that_of_java() -> None:
    # The first numbers of java.util.SplittableRandom(1234567), as published with many implementations.
    states = torch.tensor([signed((1234567 + i * 0x9E3779B97F4A7C15) % 2**64, 64) for i in (1, 2, 3)])
    assert [value % 2**64 for value in mix(states).tolist()] == [
        6457827717110365317, 3203168211198807973, 9817491932198370423,
    ]  # fmt: skip


def test_masks_are_those_of_the_formula() -> None:
    seed, position, features, p = 2**62 + 5, 3, 5, 0.3
    found = keep(torch.tensor([seed]), name_hash("m"), torch.tensor([position]), features, p)[0].tolist()
    state = splitmix(splitmix(seed + name_hash("m")) + position * 0x9E3779B97F4A7C15)
    expected = []
    for pair in (1, 2, 3):
        number = splitmix(state + pair * 0x9E3779B97F4A7C15)
        for half in (number % 2**32, number >> 32):
            expected.append((signed(half, 32) + 2**31) / 2**32 >= p)
    assert found == expected[:features]


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9])
def test_each_feature_stays_with_probability_one_minus_p(p: float) -> None:
    found = masks(200, p).double()
    for axis in ((), (0, 1), (0, 2), (1, 2)):  # all, by feature, by position, by row
        mean = found.mean(axis)
        spread = np.sqrt(p * (1 - p) / (found.numel() / mean.numel()))
        assert float((mean - (1 - p)).abs().max()) < 5 * spread


def test_nothing_and_everything() -> None:
    assert bool(masks(20, 0.0).all())
    assert float(masks(20, 1.0).double().mean()) < 1e-3
    x = torch.ones(2, 3, 4)
    with row_seeds(torch.arange(2)):
        assert KeyedDropout(0.0, "a")(x) is x
    assert KeyedDropout(0.5, "a").train()(x) is x
    with pytest.raises(ConfigError, match=r"dropout of 1\.0; expected at least 0 and below 1"):
        KeyedDropout(1.0, "a")


def test_rows_modules_positions_and_features_are_independent() -> None:
    found = masks(64, 0.5).double() * 2 - 1
    other = masks(64, 0.5, "b").double() * 2 - 1
    limit = 5 / np.sqrt(found.numel())
    assert abs(float((found * other).mean())) < limit
    assert abs(float((found[1:] * found[:-1]).mean())) < limit
    assert abs(float((found[:, 1:] * found[:, :-1]).mean())) < limit
    for step in (1, 2, 32):
        assert abs(float((found[..., step:] * found[..., :-step]).mean())) < 1.5 * limit
    # three at once, which linear generators fail
    assert abs(float((found[1:, 1:, 1:] * found[:-1, 1:, 1:] * found[1:, :-1, :-1]).mean())) < limit


def test_the_mean_of_the_output_is_the_input() -> None:
    x = torch.linspace(-2, 3, FEATURES).expand(4000, 1, FEATURES)
    with row_seeds(torch.arange(4000)):
        y = KeyedDropout(0.4, "a")(x)
    torch.testing.assert_close(y, torch.where(y == 0, 0.0, x / 0.6))
    deviation = (y.mean(0) - x[0]).abs() / (x[0].abs() * np.sqrt(0.4 / 0.6 / 4000))
    assert float(deviation.max()) < 5


@pytest.mark.parametrize("left", [False, True])
def test_padding_changes_nothing(left: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    x, dropout, seeds = torch.randn(2, 7, 6, generator=draw), KeyedDropout(0.5, "a"), torch.tensor([3, 4])
    mask = torch.tensor([[1] * 7, [0] * 3 + [1] * 4 if left else [1] * 4 + [0] * 3])
    with row_seeds(seeds, mask):
        together = dropout(x)
    with row_seeds(seeds[1:]):
        alone = dropout(x[1:, mask[1].bool()])
    assert torch.equal(together[1:, mask[1].bool()], alone)
    packed = keep(
        seeds.repeat_interleave(mask.sum(1)), dropout.hash, torch.cat([torch.arange(7), torch.arange(4)]), 6, 0.5
    )
    assert torch.equal(together[mask.bool()], x[mask.bool()] * packed * 2)


def test_the_order_of_rows_changes_nothing_and_one_vector_a_row_is_position_nought() -> None:
    x, seeds, dropout = torch.ones(5, 3, 8), torch.arange(5) * 77, KeyedDropout(0.5, "a")
    with row_seeds(seeds):
        plain = dropout(x)
        assert torch.equal(dropout(x[:, 0]), plain[:, 0])
    order = torch.tensor([3, 0, 4, 2, 1])
    with row_seeds(seeds[order]):
        assert torch.equal(dropout(x), plain[order])


def test_seeds_of_steps_differ() -> None:
    seeds = torch.cat([step_seeds(KEY.fold(client), step, 100) for client in range(3) for step in range(3)])
    assert len(torch.unique(seeds)) == 900


FAMILIES = {
    "bert": (bert, ["query", "output.dense"]),
    "roberta": (roberta, ["query", "output.dense"]),
    "gpt2": (gpt2, ["c_attn", "c_proj"]),
    "llama": (llama, ["q_proj", "down_proj"]),
    "vit": (vit, ["q_proj", "fc2"]),
}
DROPOUT = {
    "deft": {"r": 4, "deft_dropout": 0.3},
    "delora": {"r": 4, "module_dropout": 0.3},
    "dora": {"r": 4, "use_dora": True, "lora_dropout": 0.3},
    "gralora": {"r": 4, "gralora_k": 2, "gralora_dropout": 0.3},
    "hira": {"r": 4, "hira_dropout": 0.3},
    "lora": {"r": 4, "lora_dropout": 0.3},
    "miss": {"r": 4, "miss_dropout": 0.3},
    "psoft": {"r": 4, "psoft_dropout": 0.3},
    "randlora": {"r": 4, "randlora_alpha": 4, "randlora_dropout": 0.3},
    "supertuning": {"r": 4, "lora_alpha": 4, "lora_dropout": 0.3},
    "tinylora": {"tinylora_dropout": 0.3},
    "unilora": {"unilora_dropout": 0.3},
    "vblora": {"vector_length": 16, "num_vectors": 8, "vblora_dropout": 0.3},
    "vera": {"r": 4, "vera_dropout": 0.3},
}
CASES = (
    [(family, "lora") for family in FAMILIES]
    + [("gpt2", "dora")]
    + [("bert", kind) for kind in DROPOUT if kind != "lora"]
)


def task(family: str, kind: str, **changes: object) -> TinyTask:
    base, targets = FAMILIES[family]
    options = DROPOUT[kind] | {"target_modules": targets} | changes
    adapter = Adapter(kind="lora" if kind == "dora" else kind, options=options)
    return (TinyImages if family == "vit" else TinyTask)(lambda: base(2), adapter)


def losses(task: TinyTask, model: torch.nn.Module, rows: np.ndarray, seeds: torch.Tensor | None) -> torch.Tensor:
    batch = task.collate(rows)
    with row_seeds(seeds, batch.inputs.get("attention_mask")):
        return task.losses(task.forward(model, batch.inputs), batch.labels)


def lanes(
    task: TinyTask, starts: np.ndarray, rows: np.ndarray, seeds: torch.Tensor
) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    """The losses of the rows of all lanes in one pass, and their gradient as [lanes, d]."""
    model = task.model(KEY)
    layout = layout_of(model)
    current, _ = stack_modules(model, trace(task, model, task.collate(rows[:1]).inputs))
    x = torch.from_numpy(starts)
    leaves = {e.name: x[:, e.start : e.stop].view(len(x), *e.shape).requires_grad_() for e in layout}
    with current.use(leaves, len(rows)):
        found = losses(task, model, rows, seeds)
    gradients = torch.autograd.grad(found.sum(), list(leaves.values()))
    return found.detach(), torch.cat([part.reshape(len(x), -1) for part in gradients], 1)


@pytest.mark.parametrize(("family", "kind"), CASES, ids=["-".join(case) for case in CASES])
def test_every_client_drops_alike_alone_and_among_others(family: str, kind: str) -> None:
    mine = task(family, kind)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the base layers adapted")
        plain = mine.model(KEY)
        rng = np.random.default_rng(0)
        shape = (3, layout_of(plain).size)
        starts = (vector_of(plain) + 0.05 * rng.normal(size=shape)).astype(np.float32)
        rows = rng.permutation(60)[:6]
        seeds = step_seeds(KEY, 0, 6)
        together, gradient = lanes(mine, starts, rows, seeds)
        for i, start in enumerate(starts):
            own = slice(2 * i, 2 * i + 2)
            load_vector(plain, start)
            plain.zero_grad()
            alone = losses(mine, plain, rows[own], seeds[own])
            alone.sum().backward()
            torch.testing.assert_close(together[own], alone.detach(), rtol=1e-4, atol=1e-5)
            expected = gradient_of(plain)
            assert np.linalg.norm(gradient[i].numpy() - expected) <= 1e-4 * np.linalg.norm(expected)
            evaluated = losses(mine, plain, rows[own], None).detach()
            assert not torch.allclose(alone.detach(), evaluated, rtol=1e-3)


def test_dora_drops_as_peft_does_in_training() -> None:
    """Against peft's own training pass, whose dropout is made to draw the keyed mask."""
    ours, theirs = task("bert", "dora").model(KEY), task("bert", "dora").model(KEY)
    for module in theirs.modules():
        if isinstance(module, LoraLayer):
            module.training = True
            module.lora_variant["default"] = DoraLinearVariant()
    rows, seeds = np.arange(4), step_seeds(KEY, 0, 4)
    found, expected = (losses(task("bert", "dora"), model, rows, seeds) for model in (ours, theirs))
    torch.testing.assert_close(found, expected)


def test_without_dropout_peft_has_nothing_to_replace() -> None:
    model = task("bert", "lora", lora_dropout=0.0).model(KEY)
    assert not any(isinstance(module, KeyedDropout) for module in model.modules())
    names = {
        name for name, module in task("bert", "lora").model(KEY).named_modules() if isinstance(module, KeyedDropout)
    }
    assert len(names) == 6
    assert all(name.endswith(".lora_dropout.default") for name in names)


def jobs(engine: SequentialEngine, *keys: Key | None) -> list[Job]:
    """Ragged clients, each with a dropout key."""
    rng = np.random.default_rng(0)
    rows = [(np.arange(6), np.arange(20, 23)), (np.arange(4, 9), np.array([3, 3]), np.arange(2)), (np.arange(30, 31),)]
    return [
        Job(
            client,
            (engine.first + 0.05 * rng.normal(size=engine.layout.size)).astype(np.float32),
            mine,
            np.full(len(mine), 0.01),
            LocalOptimizer("sgd"),
            dropout=key,
        )
        for client, (mine, key) in enumerate(zip(rows, keys, strict=True))
    ]


ENGINES = [*((family, "lora") for family in FAMILIES), ("bert", "dora"), ("gpt2", "dora"), ("bert", "vblora")]


@pytest.mark.parametrize(("family", "kind"), ENGINES, ids=["-".join(case) for case in ENGINES])
def test_engines_agree_whatever_the_grouping_and_order(family: str, kind: str) -> None:
    mine = task(family, kind)
    sequential = SequentialEngine(mine, KEY)
    keys = [KEY.fold(client) for client in range(3)]
    dropped = jobs(sequential, *keys)
    expected = list(sequential.train(dropped))
    for tokens in (24, 400):
        fused = FusedEngine(mine, KEY, device="cpu", precision="float32", micro_batch_tokens=tokens)
        assert fused.plan()["engine"] == "fused"
        for order in ((0, 1, 2), (2, 0, 1)):
            for index, found in zip(order, fused.train([dropped[i] for i in order]), strict=True):
                other = expected[index]
                assert np.linalg.norm(found.delta - other.delta) <= 1e-4 * np.linalg.norm(other.delta)
                np.testing.assert_allclose(found.losses, other.losses, rtol=1e-4)
    for undropped in (jobs(sequential, None, None, None), jobs(sequential, *reversed(keys))):
        for plain, other in zip(sequential.train(undropped), expected, strict=True):
            same = undropped[other.client].dropout == dropped[other.client].dropout
            assert np.allclose(plain.losses, other.losses, rtol=1e-3) == same
