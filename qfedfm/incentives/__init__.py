"""Who takes part in a round, and what each was worth."""

import importlib
from typing import Any

from qfedfm.core.registry import lookup

_NAMES = {
    "Game": "qfedfm.incentives.game",
    "Participation": "qfedfm.incentives.participation",
    "Shares": "qfedfm.incentives.contribution",
    "round_contributions": "qfedfm.incentives.contribution",
    "round_game": "qfedfm.incentives.game",
    "scaling": "qfedfm.incentives.query_scaling",
}


def __getattr__(name: str) -> Any:
    """A public name, or a method of contribution, when it is first used."""
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name.startswith("_"):
        raise AttributeError(f"{__name__} has no {name!r}")
    return lookup(f"{__name__}.contributions", name)
