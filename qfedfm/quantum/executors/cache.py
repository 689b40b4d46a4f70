"""What was run before is not run again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float64

from qfedfm.core.key import Key
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

    A repeated request counts no circuits and no shots, since none ran. It gives the bytes that running again would give
    where the executor inside gives the same for the same key, as simulations do; a device does not, and then the first
    answer stays. A whole batch is one request. What is kept lasts as long as the process and the circuit, so that a
    resumed experiment pays again for what it repeats.

    With ``any_key`` the key is not compared: a device gives other counts each time anyhow, but then the "fresh" shots
    of a second request are the old ones, averages do not get better, and results depend on what ran before.

    Args:
        inner: where a circuit runs the first time.
        any_key: whether an outcome under another key will do.
    """

    any_key: bool = False

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        asked = ("run", parameters.shape, parameters.tobytes())
        return self._once(circuit, asked, key, lambda: self.inner.run(circuit, parameters, key))

    def calibration(self, circuit: Circuit, key: Key) -> Outcome:
        return self._once(circuit, ("calibration",), key, lambda: self.inner.calibration(circuit, key))

    def _once(self, circuit: Circuit, asked: tuple[Any, ...], key: Key, work: Callable[[], Outcome]) -> Outcome:
        request = (self.inner, *asked, None if self.any_key else key)
        with _lock:
            kept = _kept.setdefault(circuit, OrderedDict())
            if request in kept:
                kept.move_to_end(request)
                return replace(kept[request], circuits=0, shots=0, device_seconds=0.0)
        outcome = work()
        for shared in (outcome.probabilities, outcome.counts):
            if shared is not None:
                shared.setflags(write=False)
        with _lock:
            kept[request] = outcome
            while len(kept) > _MOST:
                kept.popitem(last=False)
        return outcome
