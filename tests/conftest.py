"""Shapes in the annotations are checked at run time, in the tests only."""

import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

settings.register_profile("busy", deadline=None)  # how long an example takes says more about the machine
settings.load_profile("busy")
install_import_hook("qfedfm", "beartype.beartype")

from qfedfm.adapters.torchvision import hide_unusable_torchvision  # noqa: E402 (after the hook)

hide_unusable_torchvision()  # before a test imports transformers by itself


@pytest.fixture
def terminal(monkeypatch, capsys, tmp_path):
    """Runs the command line in an empty folder; gives the status, stdout and stderr."""
    from qfedfm import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["qfedfm", *map(str, words)])
        try:
            cli.main()
            status = 0
        except SystemExit as done:
            status = done.code or 0
        return status, *capsys.readouterr()

    return call
