"""Dotted keys, as ``--set`` and the tuning grid have them."""

from __future__ import annotations

import tomllib
from typing import Any

from qfedfm.core.errors import ConfigError


def _steps(key: str) -> list[str]:
    """The names in a dotted key, read as TOML does, so that a name with dots can be quoted."""
    try:
        below: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        raise ConfigError(f"key {key!r}", "names with dots between them, such as training.rate") from None
    steps = []
    while isinstance(below, dict):
        ((step, below),) = below.items()
        steps.append(step)
    return steps


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Sets what a dotted key names in nested tables; a name in the place of a table becomes one with that name.

    Raises:
        ConfigError: no such key, or something on its way is no table.
    """
    *path, last = _steps(key)
    for step in path:
        below = tree.setdefault(step, {})
        if isinstance(below, str):
            below = tree[step] = {"name": below}
        if not isinstance(below, dict):
            raise ConfigError(f"key {key!r} goes through {step!r}, which is {below!r}", "a table")
        tree = below
    tree[last] = value
