"""Every adapter that is offered: what the key decides, what peft loads, and what is refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import peft
import pytest
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from qfedfm.adapters.kinds import OFFERED, PROMPTS, REFUSED
from qfedfm.adapters.models import quiet
from qfedfm.adapters.peft import Adapter, attach, save
from qfedfm.adapters.tensors import layout_of, load_vector, vector_of
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from tests.clients.test_families import adapter
from tests.clients.tiny import TinyImages, TinyTask, bert, gpt2, llama, vit

pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
BASES = {"bert": bert, "gpt2": gpt2, "llama": llama, "vit": vit}


def base(family: str) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return BASES[family](2).eval()


def outputs(family: str, model: torch.nn.Module, rows: np.ndarray, *, left: bool = False) -> torch.Tensor:
    task = (TinyImages if family == "vit" else TinyTask)(BASES[family], None, left=left)
    with torch.no_grad():
        return task.forward(model, task.collate(rows).inputs)


@cache
def moved(size: int) -> np.ndarray:
    return (0.05 * np.random.default_rng(0).normal(size=size)).astype(np.float32)


def test_every_kind_of_peft_is_offered_or_refused_with_a_reason() -> None:
    known = {kind.value.lower() for kind in PEFT_TYPE_TO_CONFIG_MAPPING}
    assert set(OFFERED) | set(REFUSED) == known
    assert not set(OFFERED) & set(REFUSED)


@pytest.mark.parametrize("kind", OFFERED)
def test_the_key_draws_the_trained_values_and_peft_loads_what_is_saved(kind: str, tmp_path) -> None:
    one, two = (attach(base("bert"), adapter("bert", kind), Key.of(seed)) for seed in (1, 2))
    names = [entry.name for entry in layout_of(one)]
    assert any("classifier" in name for name in names)
    vector = vector_of(one) + moved(layout_of(one).size)
    for model in (one, two):
        load_vector(model, vector)
    rows = np.arange(4)
    expected = outputs("bert", one, rows)
    assert torch.equal(outputs("bert", two, rows), expected)
    assert not torch.allclose(outputs("bert", base("bert"), rows), expected, atol=1e-3)
    save(one, vector, tmp_path, "someone/base")
    with quiet():
        loaded = peft.PeftModel.from_pretrained(base("bert"), str(tmp_path)).eval()
    torch.testing.assert_close(outputs("bert", loaded, rows), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("family", "kind"), [("gpt2", "lora"), ("vit", "lora"), ("vit", "ln_tuning"), ("llama", "p_tuning")]
)
def test_peft_loads_what_is_saved_of_other_families(family: str, kind: str, tmp_path) -> None:
    model = attach(base(family), adapter(family, kind), Key.of(1))
    vector = vector_of(model) + moved(layout_of(model).size)
    save(model, vector, tmp_path, "someone/base")
    with quiet():
        loaded = peft.PeftModel.from_pretrained(base(family), str(tmp_path)).eval()
    rows = np.arange(1)  # without padding, of which peft alone makes something else under virtual tokens
    torch.testing.assert_close(outputs(family, loaded, rows), outputs(family, model, rows), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in PROMPTS if kind != "prefix_tuning"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_padding_does_not_change_what_a_decoder_with_prompts_answers(family: str, kind: str, left: bool) -> None:
    model = attach(base(family), adapter(family, kind), Key.of(1))
    load_vector(model, vector_of(model) + moved(layout_of(model).size))
    rows = np.arange(6)
    alone = torch.cat([outputs(family, model, rows[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(outputs(family, model, rows, left=left), alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("loora", {}, r"unknown adapter 'loora'.*did you mean 'lora'\?"),
        ("adalora", {}, "adapter 'adalora', which is not offered: .*callback.*use \"lora\""),
        ("xlora", {}, "'xlora', which is not offered: it mixes adapters .*choose one of beft"),
        ("loha", {"rank_dropout": 0.1}, "option 'rank_dropout' = 0.1 of adapter 'loha'.*regrouped; leave it out"),
        ("oft", {"coft": True}, "'coft' = True of adapter 'oft', which is not offered: it projects the weights"),
    ],
)
def test_what_is_not_offered_is_refused_when_it_is_named(kind: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Adapter(kind=kind, options=options)


def test_refused_options_may_be_left_at_nought() -> None:
    assert Adapter(kind="loha", options={"rank_dropout": 0.0}).kind == "loha"
