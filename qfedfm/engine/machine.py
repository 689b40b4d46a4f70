"""The client engine that an experiment asks for, on this machine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qfedfm.clients.jobs import ClientEngine
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.engine.compute import Engine
from qfedfm.tasks.protocol import Task


def client_engine(
    config: Engine, task: Task, plan: Mapping[str, str] | None = None, rows: np.ndarray | None = None
) -> ClientEngine:
    """Builds the engine.

    Args:
        config: the experiment's ``[engine]`` table.
        task: what is trained.
        plan: the choices of an earlier session of the same run, repeated without measuring again.
        rows: all rows that the run can need, worth keeping what is computed once for each; None for all of the task.

    Raises:
        ConfigError: the device is not there, or the memory is too little for one client.
    """
    import torch

    device = config.device
    if device == "auto":
        device = plan["device"] if plan else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        given = f"engine.device = {device!r} ({str(error).splitlines()[0].partition('. ')[0][:80]})"
        raise ConfigError(given, '"cpu", "cuda" or "auto"', "`qfedfm doctor` says which device there is") from None
    key = Key.of(0).fold("base")
    if config.mode == "sequential":
        return SequentialEngine(task, key, device)
    from qfedfm.clients.fused import FusedEngine

    return FusedEngine(
        task, key, device=device, precision=config.precision, plan=plan, memory=config.memory_bytes, cache_rows=rows
    )
