"""What was run before is not run again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float64

from qfedfm.core.key import Key
from qfedfm.core.parts import Law
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Outcome
from qfedfm.quantum.wrapper import Wrapper

_MOST = 256
"""Outcomes that are kept of one circuit; the one that was not asked for the longest time goes first."""
_kept: WeakKeyDictionary[Circuit, OrderedDict[Any, Outcome]] = WeakKeyDictionary()
_lock = threading.Lock()


@part("cache", paper="none: memoisation, Michie, Nature 218, 19 (1968)")
@final
@dataclass(frozen=True)
class Cache(Wrapper):
    """The outcome of the same circuit with the same parameters and the same key, kept in memory and free the next time.

    A repeated request counts no circuits and no shots, since none ran. With ``any_key`` the key is not compared: a
    device gives other counts each time anyhow, but then the "fresh" shots of a second request are the old ones, and
    averages over them do not get better.

    Args:
        inner: where a circuit runs the first time.
        any_key: whether an outcome under another key will do.
    """

    laws: ClassVar[frozenset[Law]] = frozenset()
    exempt: ClassVar[dict[Law, str]] = {Law.SAME_KEY: "a repeated request gives the same outcome but costs nothing"}

    any_key: bool = False

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        request = (self.inner, parameters.shape, parameters.tobytes(), None if self.any_key else key)
        with _lock:
            kept = _kept.setdefault(circuit, OrderedDict())
            if request in kept:
                kept.move_to_end(request)
                return replace(kept[request], circuits=0, shots=0, device_seconds=0.0)
        outcome = self.inner.run(circuit, parameters, key)
        with _lock:
            kept[request] = outcome
            while len(kept) > _MOST:
                kept.popitem(last=False)
        return outcome
