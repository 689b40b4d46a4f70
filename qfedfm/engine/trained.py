"""The trained circuit of a finished run, to be run elsewhere, and what came of that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from qfedfm.core.errors import CheckpointError, ConfigError, nearest
from qfedfm.core.registry import build
from qfedfm.engine.files import write_json, writing
from qfedfm.engine.folder import Folder
from qfedfm.reduces.born import BornWeights
from qfedfm.report.read import DEVICES, read_devices, read_run

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


@dataclass(frozen=True)
class Trained:
    """The circuit of a run after its last round.

    Args:
        circuit: with numbers, without measurements.
        method: of the comparison.
        seed: of the run.
        names: of the clients, in the order of the outcomes.
        shares: of the samples, in the same order.
    """

    circuit: QuantumCircuit
    method: str
    seed: int
    names: tuple[str, ...]
    shares: Float64[np.ndarray, " k"]

    def weights(self, counts: Mapping[str, int]) -> Float64[np.ndarray, " k"]:
        """w_k ∝ n_k p_k of frequencies by bit string (qubit 0 last): what an aggregator would take them for."""
        mass = self.shares * np.array([counts.get(self._bits(k), 0) for k in range(len(self.names))], np.float64)
        return np.asarray(mass / mass.sum()) if mass.sum() > 0 else self.shares / self.shares.sum()

    def exact(self) -> Float64[np.ndarray, " k"]:
        """The same weights from the state vector."""
        from qiskit.quantum_info import Statevector

        mass = self.shares * Statevector(self.circuit).probabilities()[: len(self.names)]
        return np.asarray(mass / mass.sum())

    def _bits(self, outcome: int) -> str:
        return format(outcome, f"0{self.circuit.num_qubits}b")


def trained(folder: Path, method: str | None = None, seed: int | None = None) -> Trained:
    """The trained Born circuit of a finished run.

    Args:
        folder: that ``qfedfm run`` wrote.
        method: of the comparison; the first with a trained circuit where None.
        seed: the first one where None.

    Raises:
        CheckpointError: it is no such folder, or the run has no checkpoint.
        ConfigError: no method has a trained circuit, or there is no such method or seed.
    """
    results, _ = read_run(folder)
    reduces = {name: _born(table.get("reduce")) for name, table in _methods(results).items()}
    able = [name for name, reduce in reduces.items() if reduce is not None]
    if not able:
        raise ConfigError(f"{folder} has no method with a trained circuit", "a finished run with reduce `born`")
    chosen = able[0] if method is None else method
    reduce = reduces.get(chosen)
    if reduce is None:
        raise ConfigError(f"--method {chosen!r}, which has no trained circuit", "", nearest(chosen, able))
    seeds = [run["seed"] for run in results.get("runs") or () if run["method"] == chosen]
    which = seed if seed is not None else next(iter(seeds), None)
    if which is None or which not in seeds:
        raise ConfigError(f"no run of {chosen!r} with seed {which}", f"one of {seeds}", "the run may not have finished")
    state = _state(folder, chosen, which)
    population = state["population"].tolist()
    clients = results.get("clients") or {}
    rows = [float((clients.get(str(client)) or {}).get("train_rows") or 1) for client in population]
    names = tuple(str((clients.get(str(client)) or {}).get("name") or client) for client in population)
    circuit = reduce.compiled(len(population)).qiskit.assign_parameters(state["theta"])
    return Trained(circuit, chosen, which, names, np.array(rows) / sum(rows))


def record(folder: Path, line: Mapping[str, Any]) -> None:
    """Adds what a device made of a run's circuit to the run's folder, in the place of what the same job said before."""
    path = folder / DEVICES
    known = read_devices(folder)
    with writing(path):
        write_json(path, [*(each for each in known if each.get("job") != line["job"]), dict(line)])


def _methods(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    experiment = results.get("experiment") or {}
    return dict(experiment.get("compare") or {"method": experiment.get("method") or {}})


def _born(config: Any) -> BornWeights | None:
    reduce = build("reduce", config) if config else None
    return reduce if isinstance(reduce, BornWeights) else None


def _state(folder: Path, method: str, seed: int) -> Mapping[str, np.ndarray]:
    try:
        digest = json.loads((folder / "run.json").read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError):
        given = f"{folder} has no checkpoints (run.json cannot be read)"
        raise CheckpointError(given, "the folder that `qfedfm run` wrote, whole") from None
    state = Folder(folder, digest).archive(method, seed).load()
    if state is None:
        raise CheckpointError(f"{folder} has no checkpoint of {method}, seed {seed}", "a finished run")
    return state.reduce
