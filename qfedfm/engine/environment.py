"""What a result depends on besides its configuration: versions, machine, commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
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


def versions() -> dict[str, str]:
    """The versions of the packages that results depend on, of those that are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of the checkout that the package runs from, with ``+`` when the library differs from it."""
    folder = Path(__file__).resolve().parents[1]
    try:
        head = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        )
        changed = subprocess.run(
            ["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no", "--", "."],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
