"""What a result depends on besides its configuration: versions, machine, commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PACKAGES = ("qfedfm", "torch", "transformers", "peft", "numpy", "scipy", "qiskit", "pennylane")


def environment(plan: Mapping[str, str]) -> dict[str, Any]:
    """Versions, machine, commit and the client engine's ``plan`` (device, precision …)."""
    import torch

    return {
        "python": platform.python_version(),
        "packages": versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "commit": commit(),
        **plan,
    }


def versions(packages: Sequence[str] = _PACKAGES) -> dict[str, str]:
    """The versions of those packages that are installed; by default of what results depend on."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of the checkout that the package runs from, with ``+`` when the library differs from it.

    None where the package was installed without its repository, also inside a folder of another one.
    """
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "..")
        return _git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
