"""Where models come from, and what is said when they do not."""

import numpy as np
import pytest
import torch

from qfedfm.adapters import models
from qfedfm.adapters.models import load_classifier, load_tokenizer, package_folder, public_name, resolve_model
from qfedfm.core.errors import DataError, MissingExtraError


def test_the_packaged_model_is_found_without_executing_its_package(tmp_path, monkeypatch):
    package = tmp_path / "loud_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('executed')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert package_folder("loud_package", "demo") == package


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(models.PACKAGED, "minilm", models.Packaged("no_such_package", "model", "hub/name", "demo"))
    with pytest.raises(MissingExtraError, match=r"no-such-package is not installed; .*qfedfm\[demo\]"):
        resolve_model("minilm")


def test_folders_and_hub_names(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path)) == str(tmp_path)
    assert resolve_model("someone/some-model") == "someone/some-model"
    assert public_name("minilm") == "sentence-transformers/all-MiniLM-L6-v2"
    assert public_name("someone/some-model") == "someone/some-model"


def test_what_is_no_model_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"without a config\.json"):
        resolve_model(str(tmp_path))
    with pytest.raises(DataError, match="no model folder"):
        resolve_model(str(tmp_path / "none"))


def test_an_unreachable_hub_is_said():
    with pytest.raises(DataError, match=r"model 'nobody/nothing' cannot be loaded .* while the hub can be reached"):
        load_classifier("nobody/nothing", 3)
    with pytest.raises(DataError, match="did you mean 'minilm'"):
        load_tokenizer("minillm")


def test_a_broken_model_folder_is_said(tmp_path):
    (tmp_path / "config.json").write_text("{not json")
    with pytest.raises(DataError, match="cannot be loaded"):
        load_classifier(str(tmp_path), 3)
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": 8, "num_attention_heads": 2}')
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(DataError, match="cannot be loaded"):
        load_classifier(str(tmp_path), 3)


def test_loading_is_repeatable_quiet_and_leaves_the_global_generator_alone(capfd):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, missing = load_classifier("minilm", 3)
    torch.rand(5)
    again, _ = load_classifier("minilm", 3)
    assert missing == {"classifier.weight", "classifier.bias"}
    assert not first.training
    assert all(
        np.array_equal(a.detach(), b.detach()) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )
    assert {parameter.dtype for parameter in first.parameters()} == {torch.float32}
    torch.set_rng_state(before)
    load_classifier("minilm", 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")
