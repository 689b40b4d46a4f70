"""Packages of the extra ``cloud``, imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from qfedfm.core.errors import MissingExtraError


def cloud(module: str) -> ModuleType:
    """Imports a module of the extra ``cloud``.

    Raises:
        MissingExtraError: it is not installed; the message names the extra.

    Example:
        >>> cloud("qiskit.qasm3").__name__
        'qiskit.qasm3'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        given = f"{error.name} is not installed, which this executor needs"
        remedy = 'install it with: pip install -c constraints.txt -e ".[cloud]"'
        raise MissingExtraError(given, "", remedy) from None
