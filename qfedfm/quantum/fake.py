"""Fake devices: noise and wiring of real ones as they once were measured, by name."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from qfedfm.core.errors import ConfigError, nearest
from qfedfm.quantum.extra import cloud

PROVIDER = "qiskit_ibm_runtime.fake_provider"


def names() -> dict[str, str]:
    """The class of each fake device of IBM's package, by the name in lower case: ``manila`` is ``FakeManilaV2``."""
    classes = [name for name in dir(cloud(PROVIDER)) if name.startswith("Fake") and "Provider" not in name]
    return {re.sub(r"^Fake|V2$|Backend$", "", name).lower(): name for name in classes}


@lru_cache(maxsize=8)
def fake(name: str) -> Any:
    """The fake device of a name such as ``manila``.

    Raises:
        ConfigError: there is none; the message names the nearest.
        MissingExtraError: the package is not installed.
    """
    known = names()
    if name not in known:
        raise ConfigError(f"no fake device {name!r}", "a name in lower case such as 'manila'", nearest(name, known))
    return getattr(cloud(PROVIDER), known[name])()


def require_room(name: str, available: int, qubits: int) -> None:
    """Refuses a circuit with more qubits than a device.

    Raises:
        ConfigError: it has more.
    """
    if qubits > available:
        remedy = "choose a larger device, or fewer clients or features"
        raise ConfigError(f"a circuit of {qubits} qubits on {name!r}", f"at most {available}", remedy)
