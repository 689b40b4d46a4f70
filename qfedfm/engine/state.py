"""The state of one run between two rounds, and how it is written to a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from qfedfm.core.cohort import EMPTY, ClientId, State
from qfedfm.core.errors import CheckpointError
from qfedfm.engine.chain import Chain
from qfedfm.engine.clientstates import Version
from qfedfm.engine.clusters import Clusters
from qfedfm.engine.sealed import read_sealed, write_sealed


@dataclass(frozen=True)
class RunState:
    """Everything that the next round depends on, besides the experiment and the data.

    Args:
        round: rounds that are finished.
        model: the global vector.
        reduce: state of the reduce.
        server: state of the server optimiser.
        local: the local method's state on the server.
        clients: for each client that has a state of its own, the round that made it. The states lie in the run's
            `ClientStates`: the local method's under ``method/``, the kept optimiser's under ``optimizer/``.
        late: payloads that are still on their way, by client.
        history: the records of the finished rounds.
        selector: what the selector has learnt.
        clusters: the models of clusters of clients.
        chain: what clients have reconstructed, where the way down has a codec.
        topology: what a topology keeps from round to round, besides the model.
    """

    round: int
    model: Float32[np.ndarray, " d"]
    reduce: State = field(default_factory=lambda: EMPTY)
    server: State = field(default_factory=lambda: EMPTY)
    local: State = field(default_factory=lambda: EMPTY)
    clients: Mapping[ClientId, int] = field(default_factory=dict)
    late: Mapping[ClientId, bytes] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    selector: State = field(default_factory=lambda: EMPTY)
    clusters: Clusters = field(default_factory=Clusters)
    chain: Chain = field(default_factory=Chain)
    topology: State = field(default_factory=lambda: EMPTY)


def superseded(before: RunState, after: RunState) -> list[Version]:
    """The client states that ``before`` refers to and the round after it replaced."""
    accepted = after.history[-1]["participants"]
    pairs = [(client, before.clients[client]) for client in accepted if client in before.clients]
    return [(client, round_) for client, round_ in pairs if after.clients[client] != round_]


def save(path: Path, state: RunState, identity: Mapping[str, Any]) -> None:
    """Writes a checkpoint in one atomic step.

    Args:
        path: the file.
        state: what to keep.
        identity: which run this is (configuration hash, method, seed), compared when it is read again.
    """
    tensors = {"model": state.model}
    for group in _GROUPS:
        tensors |= {f"{group}/{name}": np.asarray(value) for name, value in getattr(state, group).items()}
    tensors |= {f"clusters/{name}": value for name, value in state.clusters.tensors().items()}
    tensors |= {f"chain/{name}": value for name, value in state.chain.tensors().items()}
    index = sorted(state.clients.items())
    tensors["clients"] = np.array(index, np.int64).reshape(len(index), 2)
    tensors |= {f"late/{client}": np.frombuffer(payload, np.uint8) for client, payload in state.late.items()}
    write_sealed(path, tensors, {"format": _FORMAT, "round": state.round, "history": list(state.history)}, identity)


_FORMAT = 2
_GROUPS = ("reduce", "server", "local", "selector", "topology")
_REMEDY = "delete the file to start this run anew, or choose another --out"


def load(path: Path, identity: Mapping[str, Any]) -> RunState:
    """Reads a checkpoint back.

    Raises:
        CheckpointError: it is of another experiment or another version of the library, damaged, or not a checkpoint.
    """
    tensors, about = read_sealed(path, identity, _REMEDY)
    if about.get("format") != _FORMAT:
        given = f"{path} is a checkpoint of format {about.get('format', 1)}"
        raise CheckpointError(given, f"format {_FORMAT}, which this version of the library writes", _REMEDY)
    groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in _GROUPS}
    late: dict[ClientId, bytes] = {}
    whole: dict[str, dict[str, np.ndarray]] = {"clusters": {}, "chain": {}}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        if group in groups:
            groups[group][rest] = tensor
        elif group in whole:
            whole[group][rest] = tensor
        elif group == "late":
            late[int(rest)] = tensor.tobytes()
    clients = {int(client): int(round_) for client, round_ in tensors["clients"].tolist()}
    # safetensors gives tensors in any order, and late answers are read in that of the clients' ids
    return RunState(
        about["round"],
        tensors["model"],
        **groups,
        clients=clients,
        clusters=Clusters.of_tensors(whole["clusters"]),
        chain=Chain.of_tensors(whole["chain"]),
        late=dict(sorted(late.items())),
        history=tuple(about["history"]),
    )
