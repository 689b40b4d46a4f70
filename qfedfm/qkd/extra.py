"""Packages of the extra ``qkd``, imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from qfedfm.core.errors import MissingExtraError


def qkd(module: str) -> ModuleType:
    """Imports a module of the extra ``qkd``.

    Raises:
        MissingExtraError: it is not installed; the message names the extra.

    Example:
        >>> qkd("cryptography.exceptions").__name__
        'cryptography.exceptions'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        remedy = 'install it with: pip install -c constraints.txt -e ".[qkd]"'
        raise MissingExtraError(f"{error.name} is not installed, which keys and seals need", "", remedy) from None
