"""qfedfm: federated fine-tuning of foundation models with quantum modules, each measured against its classical twin."""

import importlib
from typing import Any

_NAMES = {
    "Cohort": "qfedfm.core.cohort",
    "Experiment": "qfedfm.engine.experiment",
    "Key": "qfedfm.core.key",
    "Layout": "qfedfm.core.layout",
    "QfedfmError": "qfedfm.core.errors",
    "stack": "qfedfm.core.stack",
}
_FOLDERS = ("incentives", "layers", "reduces", "server")

__all__ = [*_NAMES, *_FOLDERS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import qfedfm` costs nothing."""
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _FOLDERS:
        return importlib.import_module(f"qfedfm.{name}")
    raise AttributeError(f"qfedfm has no {name!r}")
