"""A torchvision that was built for another torch must not stop models that have nothing to do with images."""

from __future__ import annotations

import importlib
import importlib.util
import sys


def hide_unusable_torchvision() -> str:
    """Makes transformers take an installed torchvision that cannot be imported as not installed.

    transformers imports torchvision wherever it is installed, also for text models. Beside a CPU build of torch, the
    torchvision of the package index fails to import, and with it every model. To be called before transformers is used.

    Returns:
        Why torchvision cannot be imported; empty when it can, or is not installed.
    """
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return ""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules["torchvision"] = None  # type: ignore[assignment]
        return " ".join(str(error).split())
    return ""
