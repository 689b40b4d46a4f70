"""A lost connection is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.errors import DeviceError
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Outcome
from qfedfm.quantum.wrapper import Wrapper

_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""What an `OSError` may be that waiting does not mend: a file is missing or forbidden, not a network."""
_LONGEST = 60.0
"""Seconds that are waited at most."""


@part("retry", paper="none: exponential backoff, Metcalfe & Boggs, Commun. ACM 19, 395 (1976)")
@final
@dataclass(frozen=True)
class Retry(Wrapper):
    """Runs again after a failure that may pass: after ``wait`` seconds, then twice as many, up to a minute.

    Only a `DeviceError` and what the system says of a network (`OSError` but for those about files, with what the
    services' clients derive from it: lost connections and timeouts) is tried again; a wrong setting or a budget never
    is. Every attempt has the same key. A job whose answer was lost may have run and may be charged: an
    executor cannot know. `qfedfm submit` keeps a ledger of its jobs for that.

    Args:
        inner: where the circuits run.
        attempts: in all.
        wait: seconds before the second.

    Raises:
        ConfigError: a field is out of range.
        DeviceError: (in `run`) the last attempt failed as well.
    """

    attempts: Annotated[int, Field(ge=1)] = 3
    wait: Annotated[float, Field(ge=0, le=_LONGEST)] = 1.0

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        return self._again(lambda: self.inner.run(circuit, parameters, key))

    def calibration(self, circuit: Circuit, key: Key) -> Outcome:
        return self._again(lambda: self.inner.calibration(circuit, key))

    def _again(self, work: Callable[[], Outcome]) -> Outcome:
        for attempt in range(1, self.attempts + 1):
            try:
                return work()
            except _LASTING:
                raise
            except (DeviceError, OSError) as error:
                last = error
            if attempt < self.attempts:
                time.sleep(min(self.wait * 2 ** (attempt - 1), _LONGEST))
        given = f"executor {self.inner.name!r} failed {self.attempts} times, at last with: {last}"
        raise DeviceError(given, "", "run again later; finished rounds are kept") from last
