"""Selectors: whom a round invites, one idea a file.

The classes are found by name through the register, so that a new file joins by itself.
"""

from typing import Any

from qfedfm.core.registry import lookup


def __getattr__(name: str) -> Any:
    return lookup(__name__, name)
