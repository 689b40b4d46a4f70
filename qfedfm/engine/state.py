"""The state of one run between two rounds, and how it is written to a checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from qfedfm.core.cohort import EMPTY, ClientId, State
from qfedfm.core.errors import CheckpointError
from qfedfm.engine.files import write_bytes


@dataclass(frozen=True)
class RunState:
    """Everything that the next round depends on, besides the experiment and the data.

    Args:
        round: rounds that are finished.
        model: the global vector.
        reduce: state of the reduce.
        server: state of the server optimiser.
        local: the local method's state on the server.
        clients: each client's own state, where it has one: the local method's under ``method/``, the kept
            optimiser's under ``optimizer/``.
        late: payloads that are still on their way, by client.
        history: the records of the finished rounds.
    """

    round: int
    model: Float32[np.ndarray, " d"]
    reduce: State = field(default_factory=lambda: EMPTY)
    server: State = field(default_factory=lambda: EMPTY)
    local: State = field(default_factory=lambda: EMPTY)
    clients: Mapping[ClientId, State] = field(default_factory=dict)
    late: Mapping[ClientId, bytes] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()


def save(path: Path, state: RunState, identity: Mapping[str, Any]) -> None:
    """Writes a checkpoint in one atomic step.

    Args:
        path: the file.
        state: what to keep.
        identity: which run this is (configuration hash, method, seed), compared when it is read again.
    """
    tensors = {"model": state.model}
    for group in ("reduce", "server", "local"):
        tensors |= {f"{group}/{name}": np.asarray(value) for name, value in getattr(state, group).items()}
    for client, own in state.clients.items():
        tensors |= {f"client/{client}/{name}": np.asarray(value) for name, value in own.items()}
    tensors |= {f"late/{client}": np.frombuffer(payload, np.uint8) for client, payload in state.late.items()}
    # not ascontiguousarray, which makes a vector of a single number
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    about = {"identity": dict(identity), "round": state.round, "history": list(state.history)}
    about["digest"] = _digest(tensors, about)
    write_bytes(path, save_tensors(tensors, {"qfedfm": json.dumps(about)}))


def load(path: Path, identity: Mapping[str, Any]) -> RunState:
    """Reads a checkpoint back.

    Raises:
        CheckpointError: it is of another experiment, damaged, or not a checkpoint.
    """
    content = path.read_bytes()
    try:
        tensors = load_tensors(content)
        length = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["qfedfm"])
        digest = about.pop("digest")
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})", "a checkpoint of qfedfm", _REMEDY) from None
    if digest != _digest(tensors, about):
        raise CheckpointError(f"{path} was altered after it was written", "an intact checkpoint", _REMEDY)
    for name, value in identity.items():
        if about["identity"].get(name) != value:
            given = f"{path} is of {name} {about['identity'].get(name)!r}"
            raise CheckpointError(given, repr(value), "resume with the same experiment, or choose another --out")
    groups: dict[str, dict[str, np.ndarray]] = {"reduce": {}, "server": {}, "local": {}}
    clients: dict[ClientId, dict[str, np.ndarray]] = {}
    late: dict[ClientId, bytes] = {}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        if group in groups:
            groups[group][rest] = tensor
        elif group == "client":
            client, _, key = rest.partition("/")
            clients.setdefault(int(client), {})[key] = tensor
        elif group == "late":
            late[int(rest)] = tensor.tobytes()
    # safetensors gives tensors in any order, and the history names late clients in that of their ids
    clients, late = dict(sorted(clients.items())), dict(sorted(late.items()))
    return RunState(
        about["round"], tensors["model"], **groups, clients=clients, late=late, history=tuple(about["history"])
    )


_REMEDY = "delete the file to start this run anew, or choose another --out"


def _digest(tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    state = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        state.update(f"{name}{tensors[name].dtype}{tensors[name].shape}".encode())
        state.update(tensors[name].tobytes())
    return state.hexdigest()
