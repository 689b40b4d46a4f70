"""Other libraries that the tests compare with."""

import importlib
import importlib.util
import sys
import types
from typing import Any


def byzfl(module: str) -> Any:
    """``byzfl.<module>`` without the package's own ``__init__``, which imports torchvision and its benchmark.

    A torchvision that was built for another torch than the installed one cannot be imported; the aggregators and the
    attacks do not need it.
    """
    if "byzfl" not in sys.modules:
        spec = importlib.util.find_spec("byzfl")
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError("byzfl")
        package = types.ModuleType("byzfl")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["byzfl"] = package
    return importlib.import_module(f"byzfl.{module}")
