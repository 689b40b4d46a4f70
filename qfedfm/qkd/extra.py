"""Packages of the extra ``qkd``, looked for before they are needed."""

from __future__ import annotations

import importlib.util

from qfedfm.core.errors import MissingExtraError


def need(*packages: str) -> None:
    """Looks whether packages of the extra ``qkd`` are installed, without importing them.

    Raises:
        MissingExtraError: one is not; the message names the extra.

    Example:
        >>> need("numpy")
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        remedy = 'install it with: pip install -c constraints.txt -e ".[qkd]"'
        raise MissingExtraError(f"{', '.join(missing)} is not installed, which this command needs", "", remedy)
